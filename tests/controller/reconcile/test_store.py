from __future__ import annotations

import tracemalloc
from dataclasses import replace

import orjson
import pytest
from tests.support.builders import (
    NOON,
    a_cluster,
    a_deployment,
    a_group,
    a_job,
    a_pod,
    a_scheduler_pod,
    a_service,
    a_survey,
    a_worker_deployment,
    an_autoscaler,
    raw_cluster,
)

from dask_operator import parse
from dask_operator.actions import IDLE, WORKERS
from dask_operator.kubernetes import decode
from dask_operator.kubernetes.decode import LARGEST_OBJECT
from dask_operator.model import Departure, Key, Object, ObjectRef, Pod, Problem, Survey, Taint, Toleration, Written
from dask_operator.reconcile.facts import NEW_PODS, TERMINATING, Deed
from dask_operator.reconcile.store import Store

KEY = Key("default", "simple")
PODS = ObjectRef("Pod", "simple-default-worker-*")
THE_CLUSTER = ObjectRef("DaskCluster", "simple")
PROBLEM = Problem("Forbidden", "may not")


def _store(*pods: Pod) -> Store:
    """Return a store with a cluster, its group and these Pods."""
    store = Store()
    store.replace("DaskCluster", "", [a_cluster()], 10)
    store.replace("DaskWorkerGroup", "", [a_group()], 10)
    store.replace("Pod", "", pods, 200)
    return store


def _pods(store: Store, key: Key = KEY) -> dict[str, int]:
    """Return name and resource version of the Pods that a plan would see."""
    return {pod.name: pod.resource_version for pod in store.snapshot(key)[1].pods}


def test_a_snapshot_has_all_of_a_cluster() -> None:
    store = _store(a_pod())
    store.observe("Service", a_service())
    store.observe("Deployment", a_deployment())
    store.observe("Pod", a_scheduler_pod())
    store.observe("Pod", a_pod(5, cluster="other"))
    cluster, observed = store.snapshot(KEY)
    assert cluster == a_cluster()
    assert (observed.service, observed.deployment) == (a_service(), a_deployment())
    assert (observed.groups, observed.pods) == ((a_group(),), (a_pod(), a_scheduler_pod()))


def test_many_clusters_of_a_size_that_is_read_take_little_more_than_their_bytes() -> None:
    raw = raw_cluster()
    raw["spec"]["worker"]["spec"] = {"x": [["x" * 18]] * 9_900}
    text = orjson.dumps(raw)
    assert 220_000 < len(text) < LARGEST_OBJECT
    store = Store()
    tracemalloc.start()
    try:
        for number in range(20):
            seen = decode.read(text.replace(b'"name":"simple"', b'"name":"simple-%d"' % number))
            cluster = parse.cluster(seen)
            assert not cluster.unread
            store.observe("DaskCluster", cluster)
            del seen, cluster
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(store.keys()) == 20
    assert kept < 2 * 20 * len(text)


def test_a_snapshot_of_nothing() -> None:
    cluster, observed = Store().snapshot(KEY)
    assert cluster is None
    assert (observed.deployment, observed.pods, observed.survey) == (None, (), None)


def test_the_same_names_in_two_namespaces_are_two_clusters() -> None:
    store = _store(a_pod(), a_pod(1, namespace="other"))
    assert list(_pods(store)) == ["simple-default-worker-0"]
    assert list(_pods(store, Key("other", "simple"))) == ["simple-default-worker-1"]


@pytest.mark.parametrize("first", ["foreign", "own"])
def test_the_scheduler_is_not_any_deployment_or_service_with_the_clusters_label(first: str) -> None:
    store = Store()
    foreign: list[tuple[str, Object]] = [("Deployment", a_deployment(name="jupyter", uid="x", owners=()))]
    foreign += [("Service", a_service(name="jupyter", uid="y", owners=()))]
    own: list[tuple[str, Object]] = [("Deployment", a_deployment()), ("Service", a_service())]
    for kind, seen in foreign + own if first == "foreign" else own + foreign:
        store.observe(kind, seen)
    observed = store.snapshot(KEY)[1]
    assert (observed.deployment, observed.service) == (a_deployment(), a_service())


def test_changes_tell_whom_they_matter_to() -> None:
    store = Store()
    assert set(store.observe("DaskCluster", a_cluster())) == {KEY}
    assert set(store.observe("DaskWorkerGroup", a_group())) == {KEY}
    assert set(store.observe("Pod", a_pod())) == {KEY}
    moved = a_pod(cluster="other", resource_version=500)
    assert set(store.observe("Pod", moved)) == {KEY, Key("default", "other")}
    assert (_pods(store), list(_pods(store, Key("default", "other")))) == ({}, ["simple-default-worker-0"])
    assert set(store.removed("Pod", moved)) == {Key("default", "other")}


def test_a_cluster_of_which_nothing_is_left_is_forgotten() -> None:
    store = Store()
    store.observe("Pod", a_pod(cluster="gone"))
    store.observe("Pod", a_pod(cluster="other", resource_version=500))
    assert store.keys() == {Key("default", "other")}


def test_a_state_never_replaces_a_newer_one() -> None:
    store = _store(a_pod(resource_version=150))
    assert list(store.observe("Pod", a_pod(resource_version=140, phase="Pending"))) == []
    assert _pods(store) == {"simple-default-worker-0": 150}
    store.observe("Pod", a_pod(resource_version=160))
    assert _pods(store) == {"simple-default-worker-0": 160}


def test_what_a_list_lacks_is_gone() -> None:
    store = _store(a_pod(0), a_pod(1), a_pod(2))
    changed = store.replace("Pod", "", [a_pod(1)], 300)
    assert changed == {KEY}
    assert list(_pods(store)) == ["simple-default-worker-1"]


def test_what_is_newer_than_a_list_is_not_gone() -> None:
    store = _store()
    store.learn("Pod", a_pod(resource_version=301))
    store.replace("Pod", "", [], 300)
    assert _pods(store) == {"simple-default-worker-0": 301}


def test_a_list_of_one_namespace_says_nothing_of_others() -> None:
    store = Store()
    store.replace("Pod", "default", [a_pod()], 200)
    store.replace("Pod", "other", [], 300)
    assert list(_pods(store)) == ["simple-default-worker-0"]


def test_what_we_wrote_is_known_at_once() -> None:
    store = _store()
    assert set(store.learn("Pod", a_pod(resource_version=201))) == {KEY}
    assert _pods(store) == {"simple-default-worker-0": 201}


def test_a_reply_that_a_watch_has_overtaken_brings_nothing_back() -> None:
    store = _store()
    store.observe("Pod", a_pod(resource_version=201))
    store.removed("Pod", a_pod(resource_version=205))
    assert list(store.learn("Pod", a_pod(resource_version=201))) == []
    assert _pods(store) == {}


def test_a_bookmark_overtakes_as_well() -> None:
    store = _store()
    store.reached("Pod", "", 400)
    assert list(store.learn("Pod", a_pod(resource_version=399))) == []
    store.reached("Pod", "", 300)
    assert list(store.learn("Pod", a_pod(resource_version=399))) == [], "a watch does not go back"
    assert list(store.learn("Pod", a_pod(resource_version=401))) == [KEY]


def test_watches_of_several_namespaces_are_apart() -> None:
    store = Store()
    store.replace("Pod", "default", [], 100)
    store.replace("Pod", "other", [], 100)
    store.reached("Pod", "other", 900)
    assert list(store.learn("Pod", a_pod(resource_version=150))) == [KEY]
    store.observe("Pod", a_pod(1, namespace="other", resource_version=950))
    assert list(store.learn("Pod", a_pod(2, resource_version=160))) == [KEY]


def test_what_we_deleted_does_not_live_again() -> None:
    store = _store(a_pod())
    store.deleted("Pod", a_pod().uid, "default", a_pod().name)
    store.observe("Pod", a_pod(resource_version=201))
    assert [pod.deleting for pod in store.snapshot(KEY)[1].pods] == [True]
    assert list(store.removed("Pod", a_pod(resource_version=202))) == [KEY]
    store.observe("Pod", a_pod(uid="of-the-next", resource_version=203))
    assert [pod.deleting for pod in store.snapshot(KEY)[1].pods] == [False]


def test_only_the_very_object_was_deleted() -> None:
    store = _store(a_pod())
    store.deleted("Pod", "of-an-earlier-one", "default", a_pod().name)
    assert [pod.deleting for pod in store.snapshot(KEY)[1].pods] == [False]
    assert list(store.removed("Pod", a_pod(uid="of-an-earlier-one", resource_version=201))) == []
    assert len(_pods(store)) == 1


def test_a_warning_is_planned_with_once() -> None:
    store = _store()
    store.facts(KEY).warned("Pod x", 'unknown field "spec.nonsense"')
    store.facts(KEY).warned("Pod x", 'unknown field "spec.nonsense"')
    assert store.snapshot(KEY)[1].warnings == ('Pod x: unknown field "spec.nonsense"',)
    store.facts(KEY).reported({'Pod x: unknown field "spec.nonsense"'})
    store.facts(KEY).warned("Pod x", 'unknown field "spec.nonsense"')
    assert store.snapshot(KEY)[1].warnings == ()
    store.facts(KEY).warned("Pod x", 'unknown field "spec.other"')
    assert store.snapshot(KEY)[1].warnings == ('Pod x: unknown field "spec.other"',)


def test_an_answer_ends_the_asking() -> None:
    store = _store()
    store.facts(KEY).asked(WORKERS)
    store.facts(KEY).asked(IDLE)
    assert store.snapshot(KEY)[1].asking == {WORKERS, IDLE}
    survey = a_survey([a_pod()])
    store.facts(KEY).surveyed(survey)
    store.facts(KEY).answered(WORKERS)
    observed = store.snapshot(KEY)[1]
    assert (observed.asking, observed.survey) == (frozenset({IDLE}), survey)


def test_who_is_not_retired_is_refused_and_what_was_said_before_is_old() -> None:
    first, second, third = a_pod(0), a_pod(1), a_pod(2)
    store = _store(first, second, third)
    store.facts(KEY).surveyed(a_survey([first, second, third]))
    store.facts(KEY).retirement_began(dict.fromkeys({first.uid, second.uid}, Departure()))
    assert store.snapshot(KEY)[1].retiring.keys() == {first.uid, second.uid}
    store.retired(KEY, frozenset({first.uid, second.uid}), frozenset({first.uid}), NOON)
    observed = store.snapshot(KEY)[1]
    assert observed.retired == {first.uid}
    assert (observed.refused, observed.retiring) == ({second.uid: NOON}, {})
    assert observed.survey is None


def test_facts_about_workers_go_with_them() -> None:
    first, second = a_pod(0), a_pod(1)
    store = _store(first, second)
    store.facts(KEY).retirement_began(dict.fromkeys({first.uid, second.uid}, Departure()))
    store.retired(KEY, frozenset({first.uid, second.uid}), frozenset({first.uid}), NOON)
    for pod in (first, second):
        store.removed("Pod", replace(pod, resource_version=300))
    observed = store.snapshot(KEY)[1]
    assert (observed.retired, observed.refused) == (frozenset(), {})
    store.facts(KEY).retirement_began(dict.fromkeys({first.uid}, Departure()))
    store.retired(KEY, frozenset({first.uid}), frozenset({first.uid}), NOON)
    assert store.snapshot(KEY)[1].retired == frozenset(), "one that went meanwhile"


def test_a_worker_that_takes_anothers_name_is_not_retired_with_it() -> None:
    store = _store(a_pod())
    store.facts(KEY).retirement_began(dict.fromkeys({a_pod().uid}, Departure()))
    store.retired(KEY, frozenset({a_pod().uid}), frozenset({a_pod().uid}), NOON)
    store.observe("Pod", a_pod(uid="of-the-next", resource_version=300))
    assert store.snapshot(KEY)[1].retired == frozenset()


def test_after_a_failed_retirement_nobody_is_retired_or_refused() -> None:
    store = _store(a_pod())
    store.facts(KEY).retirement_began(dict.fromkeys({a_pod().uid}, Departure()))
    store.facts(KEY).retirement_failed(frozenset({a_pod().uid}), Survey(NOON, problem=PROBLEM))
    observed = store.snapshot(KEY)[1]
    assert (observed.retiring, observed.retired, observed.refused) == ({}, frozenset(), {})
    assert observed.survey == Survey(NOON, problem=PROBLEM)


def test_a_clusters_end_is_forgotten_with_all_that_was_known() -> None:
    store = _store()
    store.facts(KEY).failed(PODS, PROBLEM, NOON)
    store.status_written(KEY, THE_CLUSTER, {}, NOON)
    assert set(store.removed("DaskCluster", a_cluster(resource_version=11))) == {KEY}
    cluster, observed = store.snapshot(KEY)
    assert (cluster, observed.failures, observed.written) == (None, {}, {})


def test_a_cluster_made_anew_while_the_watch_was_down_starts_without_the_olds_facts() -> None:
    store = _store()
    store.facts(KEY).failed(PODS, PROBLEM, NOON)
    store.facts(KEY).warned("Pod x", "a warning")
    store.facts(KEY).reported({"Pod x: a warning"})
    store.replace("DaskCluster", "", [a_cluster(uid="of-the-next", resource_version=400)], 400)
    assert store.snapshot(KEY)[1].failures == {}
    store.facts(KEY).warned("Pod x", "a warning")
    assert store.snapshot(KEY)[1].warnings == ("Pod x: a warning",)


def test_a_snapshot_does_not_change_afterwards() -> None:
    store = _store(a_pod())
    _, observed = store.snapshot(KEY)
    store.facts(KEY).failed(PODS, PROBLEM, NOON)
    store.removed("Pod", a_pod(resource_version=300))
    store.facts(KEY).warned("Pod x", "x")
    store.status_written(KEY, THE_CLUSTER, {}, NOON)
    store.facts(KEY).asked(WORKERS)
    store.facts(KEY).retirement_began(dict.fromkeys({"x"}, Departure()))
    assert (observed.asking, observed.retiring) == (frozenset(), {})
    assert (observed.failures, observed.pods, observed.warnings, observed.written) == ({}, (a_pod(),), (), {})


def test_the_keys_of_all_that_is_known() -> None:
    store = _store()
    store.observe("Pod", a_pod(3, cluster="orphan"))
    store.observe("DaskCluster", a_cluster("empty"))
    assert store.keys() == {KEY, Key("default", "orphan"), Key("default", "empty")}
    store.removed("Pod", a_pod(3, cluster="orphan", resource_version=500))
    assert store.keys() == {KEY, Key("default", "empty")}


def test_a_snapshot_has_the_job_the_autoscalers_and_the_workers_that_are_deployments() -> None:
    store = _store()
    store.observe("DaskJob", a_job())
    store.observe("DaskJob", a_job("other"))
    store.observe("DaskAutoscaler", an_autoscaler())
    store.observe("DaskAutoscaler", an_autoscaler("elsewhere", cluster="other"))
    for deployment in (a_worker_deployment(0), a_deployment(), a_worker_deployment(1, group="simple-gpu")):
        store.observe("Deployment", deployment)
    _, observed = store.snapshot(KEY)
    assert (observed.job, observed.autoscalers) == (a_job(), (an_autoscaler(),))
    assert observed.deployment == a_deployment(), "and not that of a worker"
    assert observed.worker_deployments == (a_worker_deployment(0), a_worker_deployment(1, group="simple-gpu"))


def test_a_jobs_facts_outlive_its_cluster() -> None:
    # A job whose cluster cannot be created, or has gone, still has refusals and a status.
    store = Store()
    store.observe("DaskJob", a_job())
    store.facts(KEY).failed(THE_CLUSTER, PROBLEM, NOON)
    assert THE_CLUSTER in store.snapshot(KEY)[1].failures
    store.removed("DaskJob", a_job(resource_version=2))
    store.snapshot(KEY)
    assert store.snapshot(KEY)[1].failures == {}, "they are forgotten with the next plan"


def test_a_status_that_was_written_is_of_the_object_that_there_was() -> None:
    store = _store()
    store.observe("DaskJob", a_job())
    store.status_written(KEY, ObjectRef("DaskJob", "simple"), {"jobStatus": "Failed"}, NOON)
    written = Written(NOON, {"jobStatus": "Failed"}, a_job().uid)
    assert store.snapshot(KEY)[1].written == {ObjectRef("DaskJob", "simple"): written}
    store.status_written(KEY, ObjectRef("DaskJob", "gone"), {"jobStatus": "Failed"}, NOON)
    assert ObjectRef("DaskJob", "gone") not in store.snapshot(KEY)[1].written


def test_a_worker_that_is_a_deployment_is_retired_as_one() -> None:
    store = _store()
    deployment = a_worker_deployment(0)
    store.observe("Deployment", deployment)
    store.facts(KEY).retirement_began(dict.fromkeys({deployment.uid}, Departure()))
    store.retired(KEY, frozenset({deployment.uid}), frozenset({deployment.uid}), NOON)
    assert store.snapshot(KEY)[1].retired == {deployment.uid}
    store.removed("Deployment", replace(deployment, resource_version=300))
    assert store.snapshot(KEY)[1].retired == frozenset()


def test_two_retirements_at_once_end_one_by_one() -> None:
    first, second = a_pod(0), a_pod(1, group="simple-gpu")
    store = _store(first, second)
    store.facts(KEY).retirement_began(dict.fromkeys({first.uid}, Departure()))
    store.facts(KEY).retirement_began(dict.fromkeys({second.uid}, Departure()))
    store.retired(KEY, frozenset({first.uid}), frozenset({first.uid}), NOON)
    assert store.snapshot(KEY)[1].retiring.keys() == {second.uid}
    store.facts(KEY).retirement_failed(frozenset({second.uid}), Survey(NOON, problem=PROBLEM))
    observed = store.snapshot(KEY)[1]
    assert (observed.retiring, observed.retired, observed.refused) == ({}, frozenset({first.uid}), {})


def test_a_question_that_ends_after_its_cluster_leaves_nothing_behind() -> None:
    store = _store()
    store.facts(KEY).asked(WORKERS)
    store.removed("DaskWorkerGroup", a_group(resource_version=11))
    store.removed("DaskCluster", a_cluster(resource_version=11))
    store.facts(KEY).surveyed(a_survey())
    store.facts(KEY).answered(WORKERS)
    store.snapshot(KEY)
    assert store.snapshot(KEY)[1].survey is None, "it is forgotten with the next plan"


def test_what_had_to_wait_until_an_object_is_gone_waits_no_longer() -> None:
    store, group = Store(), a_group(deleting=True)
    store.observe("DaskCluster", a_cluster())
    store.observe("DaskWorkerGroup", group)
    subject = ObjectRef("DaskWorkerGroup", group.name)
    for reason, remaining in (("Forbidden", [subject]), (TERMINATING, [])):
        store.observe("DaskWorkerGroup", group)
        store.facts(KEY).succeeded(subject)
        store.facts(KEY).failed(subject, Problem(reason, "no"), NOON)
        store.removed("DaskWorkerGroup", group)
        assert list(store.snapshot(KEY)[1].failures) == remaining


def test_a_nodes_taints_concern_the_clusters_with_pods_on_it() -> None:
    taint, tolerated = Taint("one", "", "NoSchedule"), Toleration("one", None, "")
    there, tolerant = a_pod(0, node="here"), a_pod(1, node="here", tolerations=(tolerated,))
    store = _store(there, tolerant, a_pod(2, node="elsewhere"))
    store.observe("Pod", a_pod(5, cluster="other", node="elsewhere"))
    assert store.taint("here", ()) == set()
    assert store.taint("here", (taint,)) == {KEY}
    assert store.taint("here", (taint,)) == set(), "nothing has changed"
    assert store.snapshot(KEY)[1].displaced == {there.uid}
    assert store.taint("elsewhere", (taint,)) == {KEY, Key("default", "other")}
    assert store.tainted == {"here", "elsewhere"}
    assert store.taint("here", ()) == {KEY}
    assert store.snapshot(KEY)[1].displaced == {a_pod(2).uid}


@pytest.mark.parametrize(("lived", "counts"), [(9.0, True), (10.0, False), (3600.0, False)])
def test_a_pod_that_others_delete_after_a_while_is_no_creation_without_effect(lived: float, counts: bool) -> None:
    pod = a_pod()
    store = _store(pod)
    store.facts(KEY).succeeded(PODS, [Deed(pod.name, "wanted", part=NEW_PODS)], NOON)
    store.removed("Pod", replace(pod, deleting=True, deleted=pod.created + lived, resource_version=300))
    assert store.facts(KEY).new_pods(PODS) == ({pod.name} if counts else set())
