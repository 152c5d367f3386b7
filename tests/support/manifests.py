"""DaskClusters as users write them, for real nodes and for fake ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Where fake (kwok) nodes take a Pod, which then turns Running without running.
ON_FAKE_NODES = {"nodeSelector": {"type": "kwok"}, "tolerations": [{"operator": "Exists"}]}
WORKER = ("dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--dashboard", "--dashboard-address", "8788")
SCHEDULER = ("dask", "scheduler")


def dask_cluster(
    name: str, workers: int, *, image: str = "ghcr.io/dask/dask:2026.8.0-py3.13", pods: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The documentation's `simple` cluster under another name. `pods`: added to the pod specs."""
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": name},
        "spec": {
            "worker": {"replicas": workers, "spec": _pod("worker", image, WORKER, pods)},
            "scheduler": {
                "spec": _pod("scheduler", image, SCHEDULER, pods),
                "service": {
                    "type": "ClusterIP",
                    "selector": {"dask.org/cluster-name": name, "dask.org/component": "scheduler"},
                    "ports": [
                        {"name": "tcp-comm", "protocol": "TCP", "port": 8786, "targetPort": 8786},
                        {"name": "http-dashboard", "protocol": "TCP", "port": 8787, "targetPort": 8787},
                    ],
                },
            },
        },
    }


def worker_group(name: str, cluster: str, workers: int, pods: Mapping[str, Any] | None = None) -> dict[str, Any]:
    image = "ghcr.io/dask/dask:2026.8.0-py3.13"
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {"name": name},
        "spec": {
            "cluster": cluster,
            "worker": {"replicas": workers, "spec": _pod("worker", image, WORKER, pods)},
        },
    }


def _pod(role: str, image: str, args: Sequence[str], more: Mapping[str, Any] | None) -> dict[str, Any]:
    container = {"name": role, "image": image, "imagePullPolicy": "IfNotPresent", "args": list(args)}
    return {"containers": [container], **(more or {})}
