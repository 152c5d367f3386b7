"""Pods that can and cannot connect to those of a cluster through the NetworkPolicies of its release."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import yaml
from tests.charts.conftest import ROOT, Render
from tests.charts.texts import Places
from tests.support.dask import HTTP_ROUTES

from dask_operator import manifests as build
from dask_operator import parse

Manifest = dict[str, Any]
HERE, OPERATOR, MONITORING, GATEWAYS = "data", "dask-operator", "monitoring", "gateways"
CLOSED: dict[str, Any] = {"networkPolicy.enabled": True, "networkPolicy.controller.namespace": OPERATOR}
PEERS: dict[str, Any] = {
    **CLOSED,
    "networkPolicy.clients": [{"podSelector": {"matchLabels": {"dask-client": "true"}}}],
    "networkPolicy.monitoring": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING}},
            "podSelector": {"matchLabels": {"app": "prometheus"}},
        }
    ],
    "networkPolicy.dashboard": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": GATEWAYS}}}],
}
GROUP: dict[str, Any] = {"workerGroups.more": {}}
JOB = {"job.enabled": True, "job.script": "pass"}


@dataclass(frozen=True)
class Pod:
    """The parts of a Pod that a NetworkPolicy sees."""

    namespace: str
    labels: Mapping[str, str]


class Flow(NamedTuple):
    """A connection from a Pod to a port of another, both by their keys in `pods`."""

    source: str
    target: str
    port: int


LET_IN = (
    Flow("worker", "scheduler", 8786),
    Flow("worker", "scheduler", 8787),
    Flow("worker", "grouped worker", 40123),
    Flow("grouped worker", "worker", 40123),
    Flow("grouped worker", "scheduler", 8786),
    # The dashboard shows those of the workers.
    Flow("scheduler", "worker", 8788),
    Flow("scheduler", "worker", 40123),
    Flow("client", "scheduler", 8786),
    Flow("client", "scheduler", 8787),
    Flow("controller", "scheduler", 8786),
    Flow("controller", "scheduler", 8787),
    Flow("helm test", "scheduler", 8786),
    Flow("Prometheus", "scheduler", 8787),
    Flow("Prometheus", "worker", 8788),
    Flow("Prometheus", "grouped worker", 8788),
    Flow("gateway", "scheduler", 8787),
    # The policies select no other Pods.
    Flow("anybody", "another cluster's scheduler", 8786),
    Flow("anybody", "another cluster's worker", 8788),
)
KEPT_OUT = (
    Flow("client", "scheduler", 22),
    Flow("client", "worker", 8786),
    Flow("client", "worker", 8788),
    Flow("client", "worker", 40123),
    Flow("client elsewhere", "scheduler", 8786),
    Flow("anybody", "scheduler", 8786),
    Flow("anybody", "scheduler", 8787),
    Flow("anybody", "worker", 8788),
    Flow("controller", "scheduler", 22),
    Flow("controller", "worker", 8788),
    Flow("helm test", "worker", 40123),
    Flow("helm test elsewhere", "scheduler", 8786),
    Flow("another release's helm test", "scheduler", 8786),
    Flow("another chart's test", "scheduler", 8786),
    Flow("another controller", "scheduler", 8786),
    # Anybody may label a Pod of his own.
    *(Flow("the controller's double", "scheduler", port) for port in (8786, 8787)),
    *(Flow("the controller's double elsewhere", "scheduler", port) for port in (8786, 8787)),
    Flow("the operator's helm test", "scheduler", 8786),
    Flow("Prometheus", "scheduler", 8786),
    Flow("Prometheus", "scheduler", 8788),
    Flow("Prometheus", "worker", 40123),
    *(Flow(f"Prometheus' {name}", "scheduler", 8787) for name in ("neighbour", "double")),
    *(Flow(f"Prometheus' {name}", "worker", 8788) for name in ("neighbour", "double")),
    Flow("gateway", "scheduler", 8786),
    Flow("gateway", "worker", 8788),
    Flow("another cluster's worker", "scheduler", 8786),
    Flow("another cluster's worker", "worker", 40123),
    Flow("worker elsewhere", "scheduler", 8786),
    Flow("worker elsewhere", "worker", 40123),
)
Flows = Callable[[list[Manifest]], set[Flow]]


def labels_of_pods() -> set[str]:
    """Return the values of the chart that are labels of Pods."""
    places = Places(json.loads((ROOT / "charts/dask-cluster/values.schema.json").read_text()))
    places.values()
    found = {path.rpartition(".")[0] for path in places.marks}
    return {path for path in found if path.split(".")[-1] == "labels" and "Monitor" not in path}


@pytest.fixture(scope="module")
def pods(render: Render) -> dict[str, Pod]:
    """The Pods of the charts as they, and the controller, make them."""
    release = render("dask-cluster", GROUP, HERE)
    another = _dask_pods(render("dask-cluster", {"fullnameOverride": "another"}, HERE))
    elsewhere = render("dask-cluster", {}, "elsewhere")
    operator = render("dask-kubernetes-operator", namespace=OPERATOR)
    (deployment,) = _of_kind("Deployment", operator)
    controller = deployment["spec"]["template"]["metadata"]["labels"]
    test, client = _test_pod(release), {"dask-client": "true"}
    return {
        **_dask_pods(release),
        **{f"another cluster's {name}": pod for name, pod in another.items()},
        "worker elsewhere": _dask_pods(elsewhere)["worker"],
        "helm test": test,
        "helm test elsewhere": _test_pod(elsewhere),
        "another release's helm test": Pod(HERE, {**test.labels, "app.kubernetes.io/instance": "another"}),
        "another chart's test": Pod(HERE, {**test.labels, "app.kubernetes.io/name": "another"}),
        "controller": Pod(OPERATOR, controller),
        "the controller's double": Pod(HERE, controller),
        "the controller's double elsewhere": Pod("elsewhere", controller),
        "another controller": Pod(OPERATOR, {"app.kubernetes.io/component": "controller"}),
        "the operator's helm test": _test_pod(operator),
        "client": Pod(HERE, client),
        "client elsewhere": Pod("elsewhere", client),
        "anybody": Pod(HERE, {}),
        "Prometheus": Pod(MONITORING, {"app": "prometheus"}),
        "Prometheus' neighbour": Pod(MONITORING, {}),
        "Prometheus' double": Pod(HERE, {"app": "prometheus"}),
        "gateway": Pod(GATEWAYS, {"app": "proxy"}),
    }


@pytest.fixture(scope="module")
def passing(pods: dict[str, Pod]) -> Flows:
    """The flows above that policies allow."""

    def _passing(policies: list[Manifest]) -> set[Flow]:
        return {
            flow
            for flow in (*LET_IN, *KEPT_OUT)
            if _is_let_in(policies, pods[flow.source], pods[flow.target], flow.port)
        }

    return _passing


@pytest.fixture(scope="module")
def policies(render: Render) -> list[Manifest]:
    return _of_kind("NetworkPolicy", render("dask-cluster", PEERS, HERE))


def test_those_are_let_in_who_are_to_be_and_no_others(policies: list[Manifest], passing: Flows) -> None:
    assert passing(policies) == set(LET_IN)


def test_nobody_is_kept_out_without_policies(passing: Flows) -> None:
    assert passing([]) == {*LET_IN, *KEPT_OUT}


def test_nobody_is_a_peer_unless_named(render: Render, passing: Flows) -> None:
    unnamed = _of_kind("NetworkPolicy", render("dask-cluster", CLOSED, HERE))
    assert passing(unnamed) == {flow for flow in LET_IN if flow.source not in ("client", "Prometheus", "gateway")}


def test_every_part_of_the_policies_is_needed(policies: list[Manifest], passing: Flows) -> None:
    parts = list(_without_each_part(policies))
    assert len(parts) > 20
    for removed, rest in parts:
        assert passing(rest) != set(LET_IN), f"nothing changes without {removed}"


@pytest.mark.parametrize("path", sorted(labels_of_pods()))
def test_no_labels_make_a_pod_the_operator_s(render: Render, pods: dict[str, Pod], path: str) -> None:
    """Try a cluster in the operator's own namespace."""
    job = JOB if path.startswith("job.") else {}
    with pytest.raises(AssertionError, match="but NetworkPolicies identify the operator by it: remove it"):
        render("dask-cluster", {**GROUP, **job, path: dict(pods["controller"].labels)}, HERE)


ANYWHERE: list[Manifest] = [
    {},
    {"matchLabels": {}},
    {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]},
    {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]},
    {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]},
]


@pytest.mark.parametrize("selector", ANYWHERE, ids=str)
@pytest.mark.parametrize("peers", ["clients", "monitoring", "dashboard"])
def test_no_labels_alone_make_a_pod_a_peer(render: Render, peers: str, selector: Manifest) -> None:
    peer = {"namespaceSelector": selector, "podSelector": {"matchLabels": {"app": "a"}}}
    with pytest.raises(AssertionError, match=f"networkPolicy.{peers} selects Pods of any namespace by their labels"):
        render("dask-cluster", {**CLOSED, f"networkPolicy.{peers}": [peer]})
    # That all are admitted is what this says.
    render("dask-cluster", {**CLOSED, f"networkPolicy.{peers}": [{"namespaceSelector": selector}]})


@pytest.mark.parametrize("selector", ANYWHERE, ids=str)
def test_the_operator_is_not_anywhere(render: Render, selector: Manifest) -> None:
    values = {"networkPolicy.enabled": True, "networkPolicy.controller.namespaceSelector": selector}
    with pytest.raises(AssertionError, match="blocks the operator unless it is named"):
        render("dask-cluster", values)


def test_no_labels_alone_make_a_pod_a_peer_of_the_operator(render: Render) -> None:
    peer = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "a"}}}
    with pytest.raises(AssertionError, match="metricsFrom selects Pods of any namespace by their labels"):
        render(
            "dask-kubernetes-operator", {"networkPolicy.enabled": True, "networkPolicy.metricsFrom": [peer]}, OPERATOR
        )


def test_policies_of_two_releases_never_meet(render: Render) -> None:
    """Try releases that are named as policies of another are."""
    every = [
        policy["metadata"]["name"]
        for name in ("a", "a-cluster", "a-scheduler", "a-worker")
        for policy in _of_kind("NetworkPolicy", render("dask-cluster", {**PEERS, "fullnameOverride": name}, HERE))
    ]
    assert len(every) == len(set(every)) == 12


def test_documented_routes_are_all_but_the_api() -> None:
    page = (ROOT / "docs/dask-cluster.md").read_text().partition("### The dashboard without its API")[2]
    values = yaml.safe_load(page.partition("```yaml")[2].partition("```")[0])
    routes = ast.literal_eval(values["scheduler"]["env"]["DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"])
    assert {*HTTP_ROUTES} - {*routes} == {"distributed.http.scheduler.api"}
    assert {*routes} < {*HTTP_ROUTES}


def test_script_of_a_job_reaches_its_cluster(render: Render) -> None:
    manifests = render("dask-cluster", PEERS | JOB, HERE)
    (manifest,) = _of_kind("DaskJob", manifests)
    job = parse.job(_made(manifest))
    cluster = build.job_cluster_manifest(job)
    runner = build.runner_manifest(job, parse.cluster(_made(cluster)), 0)
    scheduler = _dask_pods([cluster])["scheduler"]
    assert _is_let_in(
        _of_kind("NetworkPolicy", manifests), Pod(HERE, runner["metadata"]["labels"]), scheduler, port=8786
    )


def _is_let_in(policies: list[Manifest], source: Pod, target: Pod, port: int) -> bool:
    """Return whether Kubernetes allows it: if no policy selects the Pod, or if any rule allows the source."""
    about = [policy for policy in policies if _is_about(policy, target)]
    rules = [(policy, rule) for policy in about for rule in policy["spec"].get("ingress", [])]
    return not about or any(_has_port(rule, port) and _has_peer(policy, rule, source) for policy, rule in rules)


def _is_about(policy: Manifest, pod: Pod) -> bool:
    spec = policy["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    return policy["metadata"]["namespace"] == pod.namespace and _selects(spec["podSelector"], pod.labels)


def _has_port(rule: Manifest, port: int) -> bool:
    ports = rule.get("ports", [])
    return not ports or {"port": port, "protocol": "TCP"} in ports


def _has_peer(policy: Manifest, rule: Manifest, source: Pod) -> bool:
    # An empty list of peers allows all, which is how people open policies by mistake.
    peers = rule.get("from", [])
    return not peers or any(_is_peer(policy["metadata"]["namespace"], peer, source) for peer in peers)


def _is_peer(namespace: str, peer: Manifest, source: Pod) -> bool:
    assert peer
    assert peer.keys() <= {"namespaceSelector", "podSelector"}
    if "namespaceSelector" in peer:
        near = _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": source.namespace})
    else:
        near = source.namespace == namespace
    return near and _selects(peer.get("podSelector", {}), source.labels)


def _selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _without_each_part(policies: list[Manifest]) -> Iterator[tuple[str, list[Manifest]]]:
    """Yield the policies without one of them, or without one of their rules, peers, ports or selecting labels."""
    for removed in _parts(policies, "policies"):
        rest = copy.deepcopy(policies)
        at: Any = rest
        for step in removed[:-1]:
            at = at[step]
        del at[removed[-1]]
        yield "".join(f"[{step!r}]" for step in removed), rest


def _parts(value: Any, name: str, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths of removable parts, below a key of this name."""
    items: dict[Any, Any] = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(items, dict):
        return
    for key, item in items.items():
        if name in ("policies", "ingress", "from", "ports", "matchLabels"):
            yield *path, key
        if key not in ("metadata", "policyTypes"):
            yield from _parts(item, str(key), (*path, key))


def _dask_pods(manifests: list[Manifest]) -> dict[str, Pod]:
    """Return the Pods that the controller makes from a DaskCluster and its groups."""
    (manifest,) = _of_kind("DaskCluster", manifests)
    cluster = parse.cluster(_made(manifest))
    scheduler = build.deployment_manifest(cluster)["spec"]["template"]
    groups = [build.group_manifest(cluster), *_of_kind("DaskWorkerGroup", manifests)]
    workers = [build.worker_manifests(cluster, parse.group(_made(group)), (0,), attempt=0)[0] for group in groups]
    made = zip(("scheduler", "worker", "grouped worker"), (scheduler, *workers), strict=False)
    return {name: Pod(cluster.namespace, pod["metadata"]["labels"]) for name, pod in made}


def _test_pod(manifests: list[Manifest]) -> Pod:
    (pod,) = _of_kind("Pod", manifests)
    return Pod(pod["metadata"]["namespace"], pod["metadata"]["labels"])


def _made(manifest: Manifest) -> Manifest:
    """Return an object as the API server would store it."""
    known = {"uid": "1", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return manifest | {"metadata": manifest["metadata"] | known}


def _of_kind(kind: str, manifests: list[Manifest]) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]
