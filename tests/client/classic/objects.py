"""Templates for tests, and their results."""

from __future__ import annotations

from typing import Any

import yaml
from ci.verify import crds
from ci.verify.schemas import crd_kinds
from jsonschema import Draft202012Validator

from dask_kubernetes.classic.manifest import manifest
from dask_kubernetes.operator.settings import Settings

SCHEMAS = {kind.kind: kind.schema for crd in crds.load().values() for kind in crd_kinds(crd)}
# The documentation's worker-spec.yml.
WORKER = yaml.safe_load("""
kind: Pod
metadata:
  labels:
    foo: bar
spec:
  restartPolicy: Never
  containers:
  - image: dask:1
    imagePullPolicy: IfNotPresent
    args: [dask-worker, --nthreads, '2', --no-dashboard, --memory-limit, 6GB, --death-timeout, '60']
    name: dask
    env:
      - name: EXTRA_PIP_PACKAGES
        value: git+https://github.com/dask/distributed
    resources:
      limits: {cpu: "2", memory: 6G}
      requests: {cpu: "2", memory: 6G}
""")


def pod(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"image": "dask:1", **container}]}}


def made(template: Any, scheduler: Any = None, seek: str = "none", **arguments: Any) -> dict[str, Any]:
    cluster = manifest(template, Settings.of(**{"name": "c"} | arguments), scheduler, seek)
    errors = [error.message for error in Draft202012Validator(SCHEMAS["DaskCluster"]).iter_errors(cluster)]
    assert errors == []
    return cluster


def worker_container(cluster: dict[str, Any]) -> dict[str, Any]:
    return dict(cluster["spec"]["worker"]["spec"]["containers"][0])


def scheduler_container(cluster: dict[str, Any]) -> dict[str, Any]:
    return dict(cluster["spec"]["scheduler"]["spec"]["containers"][0])
