"""Objects of any size that one tenant writes, beside those of others."""

from __future__ import annotations

import json
from typing import Any

from tests.support.controller import MEMORY_LIMIT, Controller
from tests.support.kube import Kube
from tests.support.manifests import ON_FAKE_NODES, dask_cluster, dask_job, worker_group

# Three bytes each in JSON, but twenty times as much in Python.
LARGE: list[Any] = [[]] * 440_000


def _large(number: int) -> dict[str, Any]:
    """Return an object of a kind with Pod specs, whose definitions take any field."""
    manifest = (
        dask_cluster(f"large-{number}", 0, pods={"x": []}),
        worker_group(f"large-{number}", "sound", 0, pods={"x": []}),
        dask_job(f"large-{number}", 0, pods={"x": []}),
    )[number % 3]
    spec = manifest["spec"]
    (spec.get("worker") or spec["job"])["spec"]["x"] = LARGE
    return manifest


def test_a_tenants_large_objects_say_so_and_stop_nobody(kube: Kube, controller: Controller) -> None:
    large = [_large(number) for number in range(6)]
    for manifest in large:
        # `apply` would store all of it in an annotation, over the limit.
        kube.run("create", "--filename", "-", stdin=json.dumps(manifest, separators=(",", ":")))
    kube.apply(dask_cluster("sound", 2, pods=ON_FAKE_NODES))
    kube.wait_for_workers("sound", 2)
    for manifest in large:
        name, kind = manifest["metadata"]["name"], manifest["kind"]
        message = kube.wait_for_condition(kind, name, "Degraded", "ObjectTooLarge")
        assert "move data into a ConfigMap" in message
    assert kube.names("deployments") == {"sound-scheduler"}
    assert controller.peak_memory() < MEMORY_LIMIT / 2
    controller.kill()
    controller.start()
    kube.run("scale", "--replicas=3", "daskworkergroup", "sound-default")
    kube.wait_for_workers("sound", 3)
    assert controller.peak_memory() < MEMORY_LIMIT / 2, "nor does it take more at its start"
