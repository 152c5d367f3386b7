"""DaskClusters as users write them, for real nodes and for fake ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Fake (kwok) nodes take such a Pod, which then turns Running without running.
ON_FAKE_NODES = {"nodeSelector": {"type": "kwok"}, "tolerations": [{"operator": "Exists"}]}
WORKER = ("dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--dashboard", "--dashboard-address", "8788")
SCHEDULER = ("dask", "scheduler")
PORTS = {"scheduler": {"tcp-comm": 8786, "http-dashboard": 8787}, "worker": {"http-dashboard": 8788}, "job": {}}


def dask_cluster(
    name: str, workers: int, *, image: str = "ghcr.io/dask/dask:2026.8.0-py3.13", pods: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the documentation's `simple` cluster under another name. `pods`: added to the pod specs."""
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
                        {"name": name, "protocol": "TCP", "port": port, "targetPort": name}
                        for name, port in PORTS["scheduler"].items()
                    ],
                },
            },
        },
    }


def dask_job(
    name: str,
    workers: int,
    *,
    program: str = "from dask.distributed import Client; client = Client(); print(client.submit(sum, [1, 2]).result())",
    image: str = "ghcr.io/dask/dask:2026.8.0-py3.13",
    pods: Mapping[str, Any] | None = None,
    **policy: Any,
) -> dict[str, Any]:
    """Return the documentation's `simple-job` under another name. `policy`: more fields of its spec."""
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": {"name": name},
        "spec": {
            "job": {"spec": _pod("job", image, ("python", "-c", program), pods)},
            "cluster": {"spec": dask_cluster(name, workers, image=image, pods=pods)["spec"]},
            **policy,
        },
    }


def worker_group(
    name: str,
    cluster: str,
    workers: int,
    pods: Mapping[str, Any] | None = None,
    image: str = "ghcr.io/dask/dask:2026.8.0-py3.13",
) -> dict[str, Any]:
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskWorkerGroup",
        "metadata": {"name": name},
        "spec": {
            "cluster": cluster,
            "worker": {"replicas": workers, "spec": _pod("worker", image, WORKER, pods)},
        },
    }


def dask_autoscaler(name: str, cluster: str, minimum: int, maximum: int, **more: Any) -> dict[str, Any]:
    """Return the documentation's autoscaler under another name. `more`: further fields of its spec."""
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskAutoscaler",
        "metadata": {"name": name},
        "spec": {"cluster": cluster, "minimum": minimum, "maximum": maximum, **more},
    }


def large_object(number: int) -> dict[str, Any]:
    """Return an object of 1.3 MB, of a kind with Pod specs, whose definitions take any field."""
    manifest = (
        dask_cluster(f"large-{number}", 0, pods={"x": []}),
        worker_group(f"large-{number}", "sound", 0, pods={"x": []}),
        dask_job(f"large-{number}", 0, pods={"x": []}),
    )[number % 3]
    spec = manifest["spec"]
    # Three bytes each in JSON, but twenty times as much in Python.
    (spec.get("worker") or spec["job"])["spec"]["x"] = [[]] * 440_000
    return manifest


def _pod(role: str, image: str, args: Sequence[str], more: Mapping[str, Any] | None) -> dict[str, Any]:
    ports = [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in PORTS[role].items()]
    container = {"name": role, "image": image, "imagePullPolicy": "IfNotPresent", "args": list(args), "ports": ports}
    return {"containers": [container], **(more or {})}
