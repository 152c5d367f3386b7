"""DaskAutoscalers against a real API server. The schedulers are on fake nodes and do not answer."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.api_server import RequestError
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster, worker_group

pytestmark = pytest.mark.usefixtures("controller")


def _autoscaler(name: str, cluster: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskAutoscaler",
        "metadata": {"name": name},
        "spec": {"cluster": cluster, **spec},
    }


def _replicas(kube: Kube, group: str) -> int:
    return int((kube.get("daskworkergroup", group) or {})["spec"]["worker"]["replicas"])


def _reasons(kube: Kube, name: str) -> list[str]:
    return [reason for _, reason, _ in kube.events("DaskAutoscaler", name)]


def test_bounds_hold_while_no_scheduler_answers(kube: Kube) -> None:
    kube.apply(dask_cluster("bound", 1, pods=ON_FAKE_NODES))
    kube.apply(_autoscaler("bound", "bound", minimum=2, maximum=5))
    kube.wait_for_workers("bound", 2)
    eventually(lambda: _reasons(kube, "bound").count("Scaled") == 1, "an Event for the first decision")
    kube.run("scale", "--replicas=9", "daskworkergroup", "bound-default")
    eventually(lambda: _replicas(kube, "bound-default") == 5, "never above maximum")
    decision = "9 → 5: minimum 2, maximum 5"
    eventually(lambda: decision in kube.run("get", "daskautoscaler", "bound"), f"the column says {decision}")
    columns = kube.run("get", "daskautoscaler", "bound").splitlines()[0].split()[:7]
    assert columns == ["NAME", "CLUSTER", "MINIMUM", "MAXIMUM", "CURRENT", "DESIRED", "AGE"]
    eventually(lambda: _reasons(kube, "bound").count("Scaled") == 2, "an Event for each decision")
    kube.run("delete", "daskautoscaler", "bound")
    # A controller that knows of a later one knows that this one is gone.
    kube.apply(_autoscaler("later", "nowhere", minimum=1))
    kube.wait_for_condition("daskautoscaler", "later", "ScalingActive", "ClusterNotFound")
    kube.run("scale", "--replicas=1", "daskworkergroup", "bound-default")
    kube.run("label", "daskcluster", "bound", "touched=yes")
    eventually(
        lambda: kube.condition("daskcluster", "bound", "Progressing").get("message", "").endswith("to 1 workers"),
        "the controller has seen the one worker that is wanted",
    )
    assert _replicas(kube, "bound-default") == 1


def test_an_autoscaler_waits_for_its_cluster_and_goes_with_it(kube: Kube) -> None:
    kube.apply(_autoscaler("early", "late", minimum=1, maximum=None))
    message = kube.wait_for_condition("daskautoscaler", "early", "ScalingActive", "ClusterNotFound")
    assert 'no DaskCluster "late"' in message
    kube.apply(dask_cluster("late", 0, pods=ON_FAKE_NODES))
    kube.wait_for_workers("late", 1)
    kube.run("delete", "daskcluster", "late")
    eventually(lambda: not kube.names("daskautoscalers"), "the autoscaler goes with its cluster")


def test_what_cannot_be_scaled_is_said_and_stops_nothing_else(kube: Kube) -> None:
    kube.apply(dask_cluster("two", 0, pods=ON_FAKE_NODES), worker_group("two-gpu", "two", 0, ON_FAKE_NODES))
    kube.apply(_autoscaler("first", "two", workerGroup="two-gpu", minimum=1))
    eventually(lambda: _replicas(kube, "two-gpu") == 1, "the first scales its group")
    kube.apply(_autoscaler("second", "two", workerGroup="two-gpu", minimum=3))
    assert "DaskAutoscaler first" in kube.wait_for_condition(
        "daskautoscaler", "second", "ScalingActive", "AnotherAutoscaler"
    )
    kube.apply(_autoscaler("third", "two", workerGroup="two-gup"))
    assert "two-default, two-gpu" in kube.wait_for_condition(
        "daskautoscaler", "third", "ScalingActive", "GroupNotFound"
    )
    assert _replicas(kube, "two-gpu") == 1
    kube.run("delete", "daskautoscaler", "first")
    eventually(lambda: _replicas(kube, "two-gpu") == 3, "the second scales it now")


def test_a_minimum_above_the_maximum_is_refused(kube: Kube) -> None:
    with pytest.raises(RequestError, match="minimum must not be greater than maximum"):
        kube.apply(_autoscaler("wrong", "any", minimum=5, maximum=2))
