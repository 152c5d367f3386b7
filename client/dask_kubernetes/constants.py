"""Names and limits of the module of this name in the client of dask-kubernetes 2026.3.0."""

from __future__ import annotations

import re

from dask_kubernetes.operator.manifests.fields import CLUSTER_NAME, LONGEST_CLUSTER_NAME, LONGEST_GROUP_NAME

KUBECLUSTER_CONTAINER_NAME = "dask-container"
KUBERNETES_MAX_RESOURCE_NAME_LENGTH = LONGEST_GROUP_NAME
SCHEDULER_NAME_TEMPLATE = "{cluster_name}-scheduler"
MAX_CLUSTER_NAME_LEN = LONGEST_CLUSTER_NAME
VALID_CLUSTER_NAME = re.compile(rf"(?=.{{,{MAX_CLUSTER_NAME_LEN}}}\Z){CLUSTER_NAME.pattern}\Z")
