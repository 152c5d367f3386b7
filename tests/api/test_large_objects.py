"""Objects of any size that one tenant writes, beside those of others."""

from __future__ import annotations

import json

from tests.support.controller import MEMORY_LIMIT, Controller
from tests.support.kube import Kube
from tests.support.manifests import ON_FAKE_NODES, dask_cluster, large_object


def test_a_tenants_large_objects_say_so_and_stop_nobody(kube: Kube, controller: Controller) -> None:
    large = [large_object(number) for number in range(6)]
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
