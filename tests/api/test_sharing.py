"""The examples of docs/sharing.md on a real API server."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from tests.support.kube import CommandError, Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster
from tests.support.tools import ROOT

EXAMPLES = ROOT / "tests/examples/sharing"


def _example(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


@pytest.mark.usefixtures("controller")
def test_a_team_gets_what_its_quota_says_and_its_pods_ask_for_something(kube: Kube) -> None:
    kube.apply(*_example("quota.yaml"))
    eventually(lambda: kube.status("resourcequota", "team").get("hard"), "the quota is in force")
    kube.apply(dask_cluster("simple", 2, pods=ON_FAKE_NODES))
    kube.wait_for_workers("simple", 2)
    asked = [pod["spec"]["containers"][0]["resources"]["requests"] for pod in kube.objects("pods")]
    assert asked == [{"cpu": "1", "memory": "4Gi"}] * 3
    kube.run("scale", "daskcluster", "simple", "--replicas=50")
    assert "team" in kube.wait_for_condition("daskcluster", "simple", "Degraded", "QuotaExceeded")
    eventually(lambda: len(kube.names("pods")) == 40, "as many Pods as it may have")
    for number in range(9):
        kube.apply(dask_cluster(f"more-{number}", 0, pods=ON_FAKE_NODES))
    with pytest.raises(CommandError, match="exceeded quota: team"):
        kube.run("create", "--filename", "-", stdin=yaml.safe_dump(dask_cluster("too-many", 0)))


@pytest.mark.usefixtures("controller")
def test_a_scheduler_comes_before_workers_that_take_what_others_leave(kube: Kube) -> None:
    kube.apply(*_example("priorities.yaml"))
    cluster = dask_cluster("simple", 1, pods=ON_FAKE_NODES)
    for role, name in (("scheduler", "dask-scheduler"), ("worker", "dask-batch")):
        cluster["spec"][role]["spec"]["priorityClassName"] = name
    kube.apply(cluster)
    kube.wait_for_workers("simple", 1)
    priorities = {pod["metadata"]["labels"]["dask.org/component"]: pod["spec"] for pod in kube.objects("pods")}
    assert {role: spec["priority"] for role, spec in priorities.items()} == {"scheduler": 1000, "worker": -1000}
    assert priorities["worker"]["preemptionPolicy"] == "Never"
