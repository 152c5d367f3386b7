"""The whole controller against a real API server: the state of users' objects, whatever happens to them."""

from __future__ import annotations

import pytest
from tests.support.api_server import RequestError
from tests.support.controller import Controller
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster, worker_group


def created(kube: Kube, name: str, workers: int) -> None:
    kube.apply(dask_cluster(name, workers, pods=ON_FAKE_NODES))
    kube.wait_for_workers(name, workers)


@pytest.mark.usefixtures("controller")
def test_a_cluster_has_the_objects_and_columns_users_know(kube: Kube) -> None:
    created(kube, "simple", 3)
    assert kube.names("deployments") == {"simple-scheduler"}
    assert kube.names("services") == {"simple-scheduler"}
    assert kube.names("daskworkergroups") == {"simple-default"}
    for pod in kube.workers("simple-default"):
        prefix, _, suffix = pod["metadata"]["name"].rpartition("-")
        assert prefix == "simple-default-worker"
        assert len(suffix) == 10
        int(suffix, 16)
    header, row = kube.run("get", "daskclusters").splitlines()
    assert header.split()[:3] == ["NAME", "WORKERS", "STATUS"]
    assert row.split()[:3] == ["simple", "3", "Running"]


@pytest.mark.usefixtures("controller")
def test_labels_and_annotations_flow_down(kube: Kube) -> None:
    cluster = dask_cluster("labelled", 1, pods=ON_FAKE_NODES)
    cluster["metadata"] |= {"labels": {"team": "a", "tier": "x"}, "annotations": {"hello": "world"}}
    cluster["spec"]["worker"]["metadata"] = {"labels": {"tier": "y", "dask.org/component": "superworker"}}
    cluster["spec"]["scheduler"]["metadata"] = {"annotations": {"fizz": "buzz"}}
    kube.apply(cluster)
    kube.wait_for_workers("labelled", 1)
    (worker,) = kube.workers("labelled-default")
    assert worker["metadata"]["labels"] == {
        "team": "a",
        "tier": "y",
        "sidecar.istio.io/inject": "false",
        "dask.org/cluster-name": "labelled",
        "dask.org/component": "worker",
        "dask.org/workergroup-name": "labelled-default",
    }
    (scheduler,) = kube.objects("pods", "dask.org/component=scheduler")
    assert scheduler["metadata"]["annotations"]["fizz"] == "buzz"
    assert scheduler["metadata"]["annotations"]["hello"] == "world"
    assert scheduler["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in scheduler["metadata"]["annotations"]


@pytest.mark.usefixtures("controller")
def test_every_way_to_scale_up_works(kube: Kube) -> None:
    created(kube, "scaled", 0)
    kube.run("scale", "--replicas=3", "daskworkergroup", "scaled-default")
    kube.wait_for_workers("scaled", 3)
    kube.run("scale", "--replicas=5", "daskcluster", "scaled")
    kube.wait_for_workers("scaled", 5)
    kube.run("patch", "daskcluster", "scaled", "--type=merge", "--patch", '{"spec":{"worker":{"replicas":6}}}')
    kube.wait_for_workers("scaled", 6)
    scale = kube.run("get", "--raw", _scale_path(kube, "scaled-default"))
    assert '"selector":"dask.org/cluster-name=scaled,' in scale
    assert '"replicas":6' in scale


def _scale_path(kube: Kube, group: str) -> str:
    return f"/apis/kubernetes.dask.org/v1/namespaces/{kube.namespace}/daskworkergroups/{group}/scale"


@pytest.mark.usefixtures("controller")
def test_a_direct_scale_of_the_group_is_not_undone(kube: Kube) -> None:
    created(kube, "direct", 1)
    kube.run("scale", "--replicas=2", "daskworkergroup", "direct-default")
    kube.wait_for_workers("direct", 2)
    kube.run("label", "daskcluster", "direct", "touched=yes")
    kube.run("delete", "pod", "--wait=false", kube.workers("direct-default")[0]["metadata"]["name"])
    kube.wait_for_workers("direct", 2)


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize("kind", ["deployment", "service"])
def test_what_is_deleted_comes_back(kube: Kube, kind: str) -> None:
    created(kube, "healed", 2)
    _delete_and_see_back(kube, kind, "healed-scheduler")
    kube.wait_for_workers("healed", 2)


@pytest.mark.usefixtures("controller")
def test_a_default_group_that_is_deleted_comes_back_and_nobody_goes_who_may_hold_results(kube: Kube) -> None:
    created(kube, "healed", 2)
    before = {pod["metadata"]["uid"] for pod in kube.workers("healed-default")}
    _delete_and_see_back(kube, "daskworkergroup", "healed-default")

    def both() -> bool:
        after = {pod["metadata"]["uid"] for pod in kube.workers("healed-default")}
        return before < after and len(after) == 4

    # A scheduler on a fake node cannot move results.
    eventually(both, "two workers more, besides those of the group that was deleted")
    assert (kube.get("daskworkergroup", "healed-default") or {})["spec"]["worker"]["replicas"] == 2


@pytest.mark.usefixtures("controller")
def test_a_default_group_that_somebodys_finalizer_holds_is_waited_for(kube: Kube) -> None:
    created(kube, "held", 1)
    kube.run("patch", "daskworkergroup", "held-default", "--type=merge", "--patch", FINALIZER)
    kube.run("delete", "daskworkergroup", "held-default", "--wait=false")
    message = kube.wait_for_condition("daskcluster", "held", "Degraded", "Terminating")
    assert "acme.io/audit" in message
    kube.run("patch", "daskworkergroup", "held-default", "--type=json", "--patch", NO_FINALIZERS)

    def made_anew() -> bool:
        group = kube.get("daskworkergroup", "held-default")
        return group is not None and "deletionTimestamp" not in group["metadata"]

    eventually(made_anew, "the group is made anew")
    # The next message is about the worker left by the old group, since a scheduler on a fake node cannot release it.
    eventually(
        lambda: kube.condition("daskcluster", "held", "Degraded").get("reason") != "Terminating",
        "nothing is said of the old group any more",
    )


FINALIZER = '{"metadata":{"finalizers":["acme.io/audit"]}}'
NO_FINALIZERS = '[{"op":"remove","path":"/metadata/finalizers"}]'


@pytest.mark.usefixtures("controller")
def test_what_was_orphaned_goes_with_the_next_cluster_of_the_name(kube: Kube) -> None:
    created(kube, "orphaned", 2)
    made = ("deployments", "services", "daskworkergroups", "pods")
    before = {kind: {each["metadata"]["uid"] for each in kube.objects(kind)} for kind in made}
    kube.run("delete", "daskcluster", "orphaned", "--cascade=orphan")
    kube.apply(dask_cluster("orphaned", 2, pods=ON_FAKE_NODES))
    uid = (kube.get("daskcluster", "orphaned") or {})["metadata"]["uid"]

    def owned() -> bool:
        children = [each for kind in made[:3] for each in kube.objects(kind)] + kube.workers("orphaned-default")
        return all(uid in [owner["uid"] for owner in each["metadata"].get("ownerReferences", [])] for each in children)

    eventually(owned, "the new cluster owns what the one before it left")
    assert {kind: {each["metadata"]["uid"] for each in kube.objects(kind)} for kind in made} == before, (
        "none was made anew"
    )
    kube.run("delete", "daskcluster", "orphaned")
    eventually(lambda: not any(kube.names(kind) for kind in made), "all goes with the cluster")


def _delete_and_see_back(kube: Kube, kind: str, name: str) -> None:
    before = kube.get(kind, name)
    assert before
    kube.run("delete", kind, name)

    def back() -> bool:
        now = kube.get(kind, name)
        return bool(now and now["metadata"]["uid"] != before["metadata"]["uid"])

    eventually(back, f"{kind} {name} has come back")


@pytest.mark.usefixtures("controller")
def test_deleted_and_evicted_workers_are_replaced(kube: Kube) -> None:
    created(kube, "lossy", 3)
    first, second, third = (pod["metadata"]["name"] for pod in kube.workers("lossy-default"))
    kube.run("delete", "pod", first)
    status = '{"status":{"phase":"Failed","reason":"Evicted","message":"The node was low on resource: memory."}}'
    kube.run("patch", "pod", second, "--subresource=status", "--type=merge", "--patch", status)
    eventually(lambda: not {first, second} & kube.names("pods"), "the lost workers are gone")
    kube.wait_for_workers("lossy", 3)
    assert third in kube.names("pods")


def test_killed_in_the_middle_of_a_scale_up_it_ends_with_exactly_as_many(kube: Kube, controller: Controller) -> None:
    created(kube, "killed", 0)
    kube.run("scale", "--replicas=50", "daskworkergroup", "killed-default")
    eventually(lambda: len(kube.workers("killed-default")) >= 5, "some workers exist")
    controller.kill()
    controller.start()
    kube.wait_for_workers("killed", 50)
    assert len(kube.objects("pods", "dask.org/component=worker")) == 50


def test_with_the_controller_stopped_a_deleted_cluster_is_garbage_collected(kube: Kube, controller: Controller) -> None:
    created(kube, "simple", 3)
    assert controller.stop() == 0
    kube.run("delete", "daskcluster", "simple")
    for kind in ("daskworkergroups", "pods", "services", "deployments", "replicasets"):
        eventually(lambda kind=kind: not kube.names(kind), f"no {kind} are left")  # type: ignore[misc]


def test_objects_deleted_while_the_controller_was_down_come_back(kube: Kube, controller: Controller) -> None:
    created(kube, "down", 3)
    controller.kill()
    kube.run("delete", "service,deployment", "down-scheduler")
    kube.run("delete", "pod", kube.workers("down-default")[0]["metadata"]["name"])
    controller.start()
    eventually(lambda: kube.names("services") == {"down-scheduler"}, "the Service is back")
    eventually(lambda: kube.names("deployments") == {"down-scheduler"}, "the Deployment is back")
    kube.wait_for_workers("down", 3)


@pytest.mark.usefixtures("controller")
def test_a_group_of_its_own_goes_with_its_cluster(kube: Kube) -> None:
    created(kube, "simple", 1)
    kube.apply(worker_group("simple-highmem", "simple", 2, ON_FAKE_NODES))
    eventually(lambda: len(kube.workers("simple-highmem")) == 2, "the second group has its workers")
    kube.run("delete", "daskcluster", "simple")
    eventually(lambda: not kube.names("daskworkergroups"), "both groups are gone")
    eventually(lambda: not kube.names("pods"), "all Pods are gone")


@pytest.mark.usefixtures("controller")
def test_a_group_without_a_cluster_says_so(kube: Kube) -> None:
    kube.apply(worker_group("stray", "nowhere", 2, ON_FAKE_NODES))
    message = kube.wait_for_condition("daskworkergroup", "stray", "Degraded", "ClusterNotFound")
    assert 'no DaskCluster "nowhere"' in message
    assert not kube.names("pods")
    created(kube, "nowhere", 0)
    eventually(lambda: len(kube.workers("stray")) == 2, "the group works once its cluster is there")


@pytest.mark.usefixtures("controller")
def test_a_quota_is_said_and_does_not_stop_others(kube: Kube) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "4"}}}
    kube.apply(quota)
    eventually(lambda: kube.status("resourcequota", "few").get("hard"), "the quota is in force")
    kube.apply(dask_cluster("greedy", 6, pods=ON_FAKE_NODES))
    message = kube.wait_for_condition("daskcluster", "greedy", "Degraded", "QuotaExceeded")
    assert "pods=4" in message
    kube.wait_for_event("DaskCluster", "greedy", "Warning", "QuotaExceeded")
    kube.apply(dask_cluster("modest", 0, pods=ON_FAKE_NODES))
    eventually(
        lambda: kube.status("daskcluster", "modest").get("phase") == "Running",
        "another cluster is served all the same",
    )
    kube.run("delete", "resourcequota", "few")
    kube.wait_for_workers("greedy", 6)
    kube.wait_for_condition("daskcluster", "greedy", "Degraded", "AsExpected")


@pytest.mark.usefixtures("controller")
def test_a_pod_that_the_api_server_refuses_is_said(kube: Kube) -> None:
    cluster = dask_cluster("refused", 2, pods=ON_FAKE_NODES)
    cluster["spec"]["worker"]["spec"]["priorityClassName"] = "no-such-class"
    kube.apply(cluster)
    message = kube.wait_for_condition("daskcluster", "refused", "Degraded", "Forbidden")
    assert "no-such-class" in message
    kube.wait_for_event("DaskCluster", "refused", "Warning", "Forbidden")


@pytest.mark.usefixtures("controller")
def test_a_misspelt_field_of_a_pod_becomes_an_event(kube: Kube) -> None:
    cluster = dask_cluster("misspelt", 2, pods=ON_FAKE_NODES)
    cluster["spec"]["worker"]["spec"]["nodeSelektor"] = {"a": "b"}
    kube.apply(cluster)
    kube.wait_for_workers("misspelt", 2)

    def ignored() -> list[str]:
        events = kube.events("DaskCluster", "misspelt")
        return [message for _, reason, message in events if reason == "FieldIgnored"]

    (message,) = eventually(ignored, "an Event names the field")
    assert "nodeSelektor" in message


@pytest.mark.usefixtures("controller")
def test_a_service_of_somebody_else_is_not_touched(kube: Kube) -> None:
    other = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "owner"},
    }
    kube.apply(other)
    owner = kube.get("configmap", "owner")
    assert owner
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken-scheduler", "ownerReferences": [reference]},
        "spec": {"ports": [{"port": 1}]},
    }
    kube.apply(service)
    kube.apply(dask_cluster("taken", 0, pods=ON_FAKE_NODES))
    message = kube.wait_for_condition("daskcluster", "taken", "Degraded", "NameTaken")
    assert "delete or rename it" in message
    kube.run("delete", "service", "taken-scheduler")
    kube.wait_for_workers("taken", 0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda cluster: cluster["metadata"].update(name="a" * 54), "53"),
        (lambda cluster: cluster["spec"]["worker"].update(replicas=-1), "replicas"),
        (lambda cluster: cluster["spec"]["worker"]["spec"].update(containers=[]), "containers"),
        (lambda cluster: cluster["spec"]["scheduler"]["spec"].pop("containers"), "containers"),
    ],
)
def test_what_cannot_work_is_refused_at_once(kube: Kube, change: object, sentence: str) -> None:
    cluster = dask_cluster("refused", 1)
    change(cluster)  # type: ignore[operator]
    with pytest.raises(RequestError, match=sentence):
        kube.apply(cluster)
