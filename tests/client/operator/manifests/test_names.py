"""The names of the client are those of the controller and of its CRDs."""

from __future__ import annotations

from dask_kubernetes.operator.manifests import names
from dask_operator import names as agreed
from dask_operator import resources


def test_names_are_those_of_the_controller() -> None:
    assert (names.CLUSTER_LABEL, names.GROUP_LABEL) == (agreed.CLUSTER_LABEL, agreed.GROUP_LABEL)
    assert (names.COMPONENT_LABEL, names.SCHEDULER, names.WORKER) == (
        agreed.COMPONENT_LABEL,
        agreed.SCHEDULER,
        agreed.WORKER,
    )
    assert names.WORKER_GROUP == agreed.WORKER_GROUP
    assert names.worker_group("mine") == agreed.default_group("mine")
    assert resources.CLUSTER.api_version == names.API_VERSION
