"""Monitoring for real: prometheus-operator configures a Prometheus from the chart's objects, and alerts fire after
troubles of clusters here.

The alerts' conditions are the chart's own, but their waits are too long here: a copy of the cluster's PrometheusRule
without `for` runs beside it. promtool tests the waits (tests/charts).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ci.picture import Series, drawn, largest_first, legend
from tests.e2e.conftest import OPERATOR_NAMESPACE, Client, Image, operator_with
from tests.e2e.release import image_of
from tests.e2e.session import Session
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster
from tests.support.prometheus import Prometheus, queries, substituted

CHART = CHARTS / "dask-kubernetes-operator"
DASHBOARDS = sorted(CHART.glob("files/dashboards/*.json"))
RELEASE = "dask-operator"
FULLNAME = f"{RELEASE}-{CHART.name}"
VARIABLES = {"namespace": ".*", "cluster": ".*"}
RANGE = 90.0
"""The time range of a picture in seconds."""
PICTURES = os.environ.get("PICTURES", "")
"""The folder for pictures; with it, tests wait until these show enough."""


@pytest.fixture(scope="module")
def monitored(helm: Helm) -> Iterator[Kube]:
    """The namespace `monitoring` of a cluster with the monitors' CRDs, and all monitors of the operator's release."""
    kube = Kube(shutil.which("kubectl") or "kubectl", helm.kubeconfig, "monitoring")
    crds = os.environ["PROMETHEUS_CRDS"]
    kube.run("apply", "--server-side", "--filename", crds)
    kube.run("wait", "--for", "condition=Established", "--timeout", "240s", "--filename", crds, seconds=300)
    often = {
        f"metrics.{monitor}.{key}": value
        for monitor in ("scheduler.serviceMonitor", "worker.podMonitor", "controller.podMonitor")
        for key, value in (("enabled", "true"), ("interval", "1s"))
    }
    gates = ("scheduler", "worker", "prometheusRule", "dashboards")
    values = often | {f"metrics.{name}.enabled": "true" for name in gates}
    settings = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    with operator_with(helm, *settings):
        kube.run("--namespace", OPERATOR_NAMESPACE, "apply", "--filename", "-", stdin=json.dumps(at_once(kube)))
        yield kube
    kube.run("delete", "--filename", crds)


@pytest.fixture(scope="module")
def release(monitored: Kube, helm: Helm, dask_image: Image) -> Iterator[str]:
    """A release of dask-cluster with monitors of its own, in the operator's namespace."""
    often = (f"{monitor}.enabled=true,{monitor}.interval=1s" for monitor in ("serviceMonitor", "podMonitor"))
    settings = ("--set", ",".join(("worker.replicas=1", *often)), *image_of(dask_image))
    where = ("--namespace", OPERATOR_NAMESPACE)
    helm.run("install", "own", str(CHARTS / "dask-cluster"), *where, *settings)
    replace(monitored, namespace=OPERATOR_NAMESPACE).wait_for_workers("own", 1)
    yield "own"
    helm.run("uninstall", "own", *where)


def at_once(kube: Kube) -> dict[str, Any]:
    """Return the cluster's alerts, without the time for which their conditions must hold."""
    installed = json.loads(
        kube.run("--namespace", OPERATOR_NAMESPACE, "get", "prometheusrule", FULLNAME, "--output", "json")
    )
    groups = installed["spec"]["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        rule.pop("for", None)
        rule["labels"]["copy"] = "at-once"
    spec = {"groups": [group | {"name": f"{group['name']}.at-once"} for group in groups]}
    metadata = {"name": "at-once", "namespace": OPERATOR_NAMESPACE}
    return {"apiVersion": installed["apiVersion"], "kind": "PrometheusRule", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def prometheus(monitored: Kube, release: str) -> Iterator[Prometheus]:
    """A Prometheus, started after everything that it monitors, since its files take a minute to change."""
    image = os.environ["PROMETHEUS_IMAGE"]
    manifests = (Path(__file__).parent / "prometheus.yaml").read_text()
    manifests = manifests.replace("image: prometheus\n", f"image: {image}\n")
    manifests = manifests.replace("reloader=prometheus,", f"reloader={image},")
    monitored.run("apply", "--filename", "-", stdin=manifests)
    running = Prometheus(monitored, "prometheus-all-0")
    eventually(lambda: running.query("up"), "Prometheus scrapes")
    yield running
    monitored.run("delete", "--filename", "-", stdin=manifests)


def names(kube: Kube, namespace: str, selector: str) -> set[str]:
    pods = kube.run("--namespace", namespace, "get", "pods", "--selector", selector, "--output", "name").split()
    return {pod.removeprefix("pod/") for pod in pods}


def test_what_computes_is_scraped_and_every_query_of_the_dashboards_has_data(
    kube: Kube,
    session: Callable[[str], Session],
    prometheus: Prometheus,
    release: str,
    dask_image: Image,
    tmp_path: Path,
) -> None:
    kube.apply(dask_cluster("simple", 2, image=str(dask_image)))
    kube.wait_for_workers("simple", 2)
    client = session("simple")
    client.wait_for_workers(2)
    client.hold(20)
    client.load()
    schedulers, workers, controller = (f"component={part}" for part in ("scheduler", "worker", "controller"))
    own, both = (OPERATOR_NAMESPACE,), (kube.namespace, OPERATOR_NAMESPACE)
    # The operator's monitors find the release as well.
    pools = {
        f"serviceMonitor/{OPERATOR_NAMESPACE}/{FULLNAME}-scheduler": (both, f"dask.org/{schedulers}"),
        f"podMonitor/{OPERATOR_NAMESPACE}/{FULLNAME}-worker": (both, f"dask.org/{workers}"),
        f"podMonitor/{OPERATOR_NAMESPACE}/{FULLNAME}-controller": (own, f"app.kubernetes.io/{controller}"),
        f"serviceMonitor/{OPERATOR_NAMESPACE}/{release}-scheduler": (own, f"dask.org/{schedulers}"),
        f"podMonitor/{OPERATOR_NAMESPACE}/{release}-worker": (own, f"dask.org/{workers}"),
    }
    for monitor, (namespaces, selector) in pools.items():

        def all_up(monitor: str = monitor, namespaces: tuple[str, ...] = namespaces, selector: str = selector) -> bool:
            # The targets may change: the previous controller ends a while after the new one has started.
            found = [names(kube, namespace, selector) for namespace in namespaces]
            return all(found) and prometheus.targets(monitor) == dict.fromkeys(set().union(*found), "up")

        eventually(all_up, f"{monitor} is up")
    for query in (query for path in DASHBOARDS for query in queries(path, VARIABLES)):
        eventually(lambda query=query: prometheus.query(query), f"data for {query}")  # type: ignore[misc]
    if PICTURES:
        kube.run("scale", "--replicas=4", "daskworkergroup", "simple-default")
        scraped = f"count_over_time(dask_scheduler_clients[{RANGE:.0f}s]) > {RANGE * 0.95}"
        eventually(lambda: prometheus.query(scraped), f"{RANGE:.0f} seconds of metrics", RANGE + 60)
    assert client.rest() > 0
    for path in DASHBOARDS:
        draw(path, prometheus, Path(PICTURES or tmp_path))


def draw(dashboard: Path, prometheus: Prometheus, folder: Path) -> None:
    """Plot a dashboard in its present state."""
    now = time.time()

    def ask(query: str, name: str) -> list[Series]:
        times = {"start": str(now - RANGE), "end": str(now), "step": "1"}
        asked = lambda: prometheus.ask("query_range", query=substituted(query, VARIABLES), **times)  # noqa: E731
        found = eventually(asked, f"an answer to {query}")["result"]
        points = ([(float(at), float(value)) for at, value in each["values"] if value != "NaN"] for each in found)
        lines = [Series(legend(each["metric"], name), line) for each, line in zip(found, points, strict=True)]
        return largest_first(lines)

    picture = drawn(json.loads(dashboard.read_text()), ask)
    assert "no data" not in picture
    assert len(picture) < 200 * 1024
    (folder / f"{dashboard.stem}.svg").write_text(picture)


def test_prometheus_can_evaluate_every_alert(prometheus: Prometheus) -> None:
    def evaluated() -> dict[str, str]:
        groups = (prometheus.ask("rules") or {}).get("groups", [])
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    alerts = {path.stem for path in CHART.glob("files/rules/*/*.yaml")}
    eventually(lambda: evaluated() == dict.fromkeys(alerts, "ok"), f"{len(alerts)} rules are evaluated")


def fires(prometheus: Prometheus, alert: str, **labels: str) -> None:
    """Wait for the alert of the copy without waits, and for a readable text in it."""
    labels["copy"] = "at-once"
    (firing, *_) = eventually(lambda: prometheus.firing(alert, **labels), f"{alert} fires")
    assert "<error" not in firing["annotations"]["description"]
    assert "<no value>" not in firing["annotations"]["description"]
    assert alert in firing["annotations"]["runbook_url"]


def test_a_scheduler_that_finds_no_node_is_an_alert(kube: Kube, prometheus: Prometheus, dask_image: Image) -> None:
    cluster = dask_cluster("headless", 1, image=str(dask_image))
    kube.apply(cluster)
    kube.wait_for_workers("headless", 1)
    of_it = {"namespace": kube.namespace, "dask_org_cluster_name": "headless"}
    up = f'up{{namespace="{kube.namespace}", service="headless-scheduler"}} == 1'
    eventually(lambda: prometheus.query(up), "the scheduler is scraped")
    quiet = lambda: not prometheus.firing("DaskSchedulerDown", copy="at-once", **of_it)  # noqa: E731
    eventually(quiet, "nothing is wrong")
    cluster["spec"]["scheduler"]["spec"]["nodeSelector"] = {"no-such": "label"}
    kube.apply(cluster)
    fires(prometheus, "DaskSchedulerDown", **of_it)


def test_workers_that_find_no_node_and_their_tasks_are_alerts(
    kube: Kube, client: Client, prometheus: Prometheus, dask_image: Image
) -> None:
    cluster = dask_cluster("waiting", 2, image=str(dask_image))
    cluster["spec"]["worker"]["spec"]["nodeSelector"] = {"no-such": "label"}
    kube.apply(cluster)
    kube.wait_for_condition("daskcluster", "waiting", "SchedulerReady", "SchedulerReady")
    fires(prometheus, "DaskWorkersPending", namespace=OPERATOR_NAMESPACE)
    address = f"tcp://waiting-scheduler.{kube.namespace}.svc:8786"
    client.python(
        "import sys; from distributed import Client, fire_and_forget\n"
        "with Client(sys.argv[1], timeout='240s') as client: fire_and_forget(client.submit(sum, [1, 2]))",
        address,
    )
    fires(prometheus, "DaskTasksWithoutWorker", namespace=kube.namespace, dask_org_cluster_name="waiting")


def test_a_cluster_that_the_api_refuses_is_an_alert(kube: Kube, prometheus: Prometheus, dask_image: Image) -> None:
    cluster = dask_cluster("refused", 1, image=str(dask_image))
    cluster["spec"]["scheduler"]["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "no-such-volume", "mountPath": "/data"}
    ]
    kube.apply(cluster)
    fires(prometheus, "DaskClustersNotRunning", namespace=OPERATOR_NAMESPACE)


def test_no_controller_is_an_alert(kube: Kube, prometheus: Prometheus) -> None:
    where = ("--namespace", OPERATOR_NAMESPACE)
    kube.run(*where, "scale", "deployment", FULLNAME, "--replicas=0")
    try:
        fires(prometheus, "DaskOperatorDown", namespace=OPERATOR_NAMESPACE)
    finally:
        kube.run(*where, "scale", "deployment", FULLNAME, "--replicas=1")
        kube.run(*where, "rollout", "status", "deployment", FULLNAME)
    gone = lambda: not prometheus.firing("DaskOperatorDown", copy="at-once")  # noqa: E731
    eventually(gone, "the alert ends")


# Several times the controller's concurrency: the last ones wait until many have timed out.
MANY = 160


def test_an_admission_webhook_that_hangs_makes_the_controller_stuck_which_is_an_alert(
    kube: Kube, prometheus: Prometheus, dask_image: Image
) -> None:
    hangs(kube, dask_image)
    kube.apply(webhook(kube.namespace))
    try:
        kube.apply(*(dask_cluster(f"many-{number}", 0, pods=ON_FAKE_NODES) for number in range(MANY)))
        fires(prometheus, "DaskOperatorStuck", namespace=OPERATOR_NAMESPACE)
        fires(prometheus, "DaskOperatorRequestsFail", namespace=OPERATOR_NAMESPACE)
    finally:
        kube.run("delete", "daskclusters", "--all")
        kube.run("delete", "validatingwebhookconfiguration", kube.namespace)


def hangs(kube: Kube, image: Image) -> None:
    """Run a Service `hangs` that accepts connections and never answers."""
    program = "import socket; s = socket.create_server(('', 8443)); kept = [s.accept() for _ in range(9999)]"
    container = {
        "name": "hangs",
        "image": str(image),
        "command": ["python", "-c", program],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    labels = {"app": "hangs"}
    service = {"selector": labels, "ports": [{"port": 443, "targetPort": 8443}]}
    kube.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hangs", "labels": labels}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hangs"}, "spec": service},
    )
    kube.run("wait", "--for", "condition=Ready", "pod/hangs", "--timeout", "240s", seconds=300)


def webhook(namespace: str) -> dict[str, Any]:
    """Return a webhook that makes the API server ask that Service about writes in a namespace, for up to 10 s."""
    rule = {
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "resources": ["deployments", "services", "daskworkergroups", "daskclusters/status"],
        "operations": ["CREATE", "UPDATE"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [
            {
                "name": "hangs.example.com",
                "clientConfig": {"service": {"name": "hangs", "namespace": namespace}},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [rule],
                "timeoutSeconds": 30,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
