"""Arguments override configuration, and mistakes in them are found before any request to Kubernetes."""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import Any

import dask.config
import pytest
import yaml

from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests.fields import without_nulls
from dask_kubernetes.operator.manifests.spec import make_cluster_spec
from dask_kubernetes.operator.settings import CreateMode, Settings, cluster_name, fitting_name


@pytest.fixture(autouse=True)
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "Jane.Doe@example")


def test_defaults() -> None:
    made = Settings.of(name="c")
    assert made == Settings(
        name="c",
        namespace=None,
        image="ghcr.io/dask/dask:latest",
        n_workers=0,
        resources=None,
        env=None,
        worker_command=["dask", "worker"],
        port_forward_cluster_ip=None,
        create_mode=CreateMode.CREATE_OR_CONNECT,
        shutdown_on_close=None,
        idle_timeout=0,
        resource_timeout=60,
        scheduler_service_type="ClusterIP",
        custom_cluster_spec=None,
        scheduler_forward_port=None,
        jupyter=False,
        restricted=True,
        drain_timeout=None,
    )
    assert made.manifest() == without_nulls(make_cluster_spec("c", n_workers=0))


CONFIGURED = {
    "name": "configured",
    "namespace": "dask",
    "image": "dask:1",
    "count.start": 4,
    "resources": {"cpu": 1},
    "env": {"A": 1},
    "worker-command": "dask-cuda-worker --x",
    "port-forward-cluster-ip": True,
    "create-mode": "CONNECT_ONLY",
    "shutdown-on-close": True,
    "idle-timeout": "5 minutes",
    "resource-timeout": "2 minutes",
    "scheduler-service-type": "NodePort",
    "scheduler-forward-port": 8787,
    "scheduler-jupyter": True,
    "restricted": False,
    "drain-timeout": "2 hours",
}


def test_configuration() -> None:
    with dask.config.set({f"kubernetes.{key}": value for key, value in CONFIGURED.items()}):
        made = Settings.of()
    assert made == Settings(
        name="configured",
        namespace="dask",
        image="dask:1",
        n_workers=4,
        resources={"requests": {"cpu": 1}, "limits": {"cpu": 1}},
        env=[{"name": "A", "value": "1"}],
        worker_command=["dask-cuda-worker", "--x"],
        port_forward_cluster_ip=True,
        create_mode=CreateMode.CONNECT_ONLY,
        shutdown_on_close=True,
        idle_timeout=300,
        resource_timeout=120,
        scheduler_service_type="NodePort",
        custom_cluster_spec=None,
        scheduler_forward_port=8787,
        jupyter=True,
        restricted=False,
        drain_timeout=7200,
    )
    assert made.manifest() == make_cluster_spec(
        "configured",
        "dask:1",
        4,
        {"cpu": 1},
        {"A": "1"},
        "dask-cuda-worker --x",
        "NodePort",
        300,
        jupyter=True,
        restricted=False,
        drain_timeout=7200,
    )


def test_arguments_come_before_configuration() -> None:
    arguments: dict[str, Any] = {
        "name": "given",
        "namespace": "other",
        "image": "dask:2",
        "n_workers": 0,
        "resources": {},
        "env": [],
        "worker_command": ["dask", "worker"],
        "port_forward_cluster_ip": False,
        "create_mode": CreateMode.CREATE_ONLY,
        "shutdown_on_close": False,
        "idle_timeout": 0,
        "resource_timeout": 1.5,
        "scheduler_service_type": "LoadBalancer",
        "scheduler_forward_port": "8788",
        "drain_timeout": 0,
    }
    with dask.config.set({f"kubernetes.{key}": value for key, value in CONFIGURED.items()}):
        made = Settings.of(**arguments)
    empty = {"resources": None, "env": None, "scheduler_forward_port": 8788}
    assert {field: getattr(made, field) for field in arguments} == arguments | empty


def test_a_number_of_workers_may_be_left_to_the_operator() -> None:
    with dask.config.set({"kubernetes.count.start": None}):
        assert "replicas" not in Settings.of(name="c").manifest()["spec"]["worker"]


def test_create_mode_as_string() -> None:
    assert Settings.of(name="c", create_mode="CREATE_ONLY").create_mode is CreateMode.CREATE_ONLY


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"n_workers": -1}, "n_workers is -1"),
        ({"n_workers": True}, "n_workers is True"),
        ({"n_workers": 1.0}, "n_workers is 1.0"),
        ({"n_workers": "2"}, "n_workers is '2'"),
        ({"n_workers": 10_001}, "at most 10000 workers"),
        ({"create_mode": "create"}, "one of CREATE_ONLY, CREATE_OR_CONNECT, CONNECT_ONLY"),
        ({"scheduler_service_type": "ExternalName"}, "one of ClusterIP, NodePort, LoadBalancer"),
        ({"resources": {"requests": {}, "cpu": 1}}, "unknown field 'cpu'"),
        ({"env": "A=1"}, "env must be"),
        ({"worker_command": []}, "is empty"),
        ({"image": ""}, "image is ''"),
        ({"restricted": "no"}, "restricted is 'no': it must be True or False"),
        ({"idle_timeout": "soon"}, "idle_timeout is 'soon'"),
        ({"idle_timeout": -1}, "idle_timeout is -1"),
        ({"drain_timeout": "soon"}, "drain_timeout is 'soon': it must be a number of seconds, or a duration"),
        ({"drain_timeout": -1}, "drain_timeout is -1"),
        ({"drain_timeout": True}, "drain_timeout is True"),
        ({"drain_timeout": 31_536_001}, "drain_timeout is 31536001: it must be at most a year"),
        ({"drain_timeout": "53 weeks"}, "drain_timeout is '53 weeks'"),
        ({"resource_timeout": "1 parsec"}, "resource_timeout is '1 parsec'"),
        ({"resource_timeout": True}, "resource_timeout is True"),
        ({"scheduler_forward_port": 0}, "scheduler_forward_port is 0"),
        ({"scheduler_forward_port": "http"}, "scheduler_forward_port is 'http'"),
        ({"name": "My.Cluster"}, "cannot be called 'My.Cluster'"),
        ({"name": ""}, "cannot be called ''"),
    ],
)
def test_mistakes(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Settings.of(**{"name": "c"} | arguments)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(None, None), (0, 0), (600, 600), ("1h", 3600), ("90", 90), (0.5, 1), (31_536_000, 31_536_000)],
)
def test_times_to_drain(given: Any, seconds: int | None) -> None:
    worker = Settings.of(name="c", drain_timeout=given).manifest()["spec"]["worker"]
    assert worker.get("drainTimeoutSeconds") == seconds
    assert ("drainTimeoutSeconds" in worker) is (seconds is not None)


def test_a_custom_cluster_is_created_as_it_is() -> None:
    given = without_nulls(make_cluster_spec("custom", n_workers=2))
    given["metadata"]["namespace"] = "dask"
    made = Settings.of(name="ignored", custom_cluster_spec=given)
    assert (made.name, made.namespace, made.manifest()) == ("custom", "dask", given)
    assert Settings.of(custom_cluster_spec=given, namespace="other").namespace == "other"
    made.manifest()["spec"].clear()
    given["spec"]["idleTimeout"] = 60
    sent = without_nulls(make_cluster_spec("custom", n_workers=2))
    assert made.manifest() == sent | {"metadata": given["metadata"]}
    assert Settings.of(custom_cluster_spec=make_cluster_spec("custom", n_workers=2)).manifest() == sent


def test_a_custom_cluster_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(make_cluster_spec("custom")))
    monkeypatch.setenv("HOME", str(tmp_path))
    sent = without_nulls(make_cluster_spec("custom"))
    for given in (file, str(file), "~/cluster.yaml"):
        assert Settings.of(custom_cluster_spec=given).manifest() == sent
    with dask.config.set({"kubernetes.custom-cluster-spec": str(file)}):
        assert Settings.of().name == "custom"
        assert Settings.of(name="given").manifest() == sent | {"metadata": {"name": "given"}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read: .*cluster.yaml: No such file"),
        ("a: [", "is not a YAML file with a single object"),
        ("a: 1\n---\nb: 2\n", "is not a YAML file with a single object"),
        ("text", "is not a DaskCluster"),
        ("{kind: Pod, metadata: {name: c}, spec: {}}", "is not a DaskCluster"),
        ("{kind: DaskCluster, spec: {}}", "has no metadata.name"),
        ("{kind: DaskCluster, metadata: {labels: {}}, spec: {}}", "has no metadata.name"),
        ("{kind: DaskCluster, metadata: {name: c}}", "has no spec"),
        ("{kind: DaskCluster, metadata: {name: C}, spec: {}}", "cannot be called 'C'"),
    ],
)
def test_a_custom_cluster_that_is_none(text: str | None, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValidationError, match=problem):
        Settings.of(custom_cluster_spec=file)


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("dask-{user}-{uuid}", r"dask-jane-doe-example-[0-9a-f]{10}"),
        ("{TEAM}_{user}", r"data-science-jane-doe-example"),
        ("{uuid}", r"dask-[0-9a-f]{10}"),
        ("7up", r"dask-7up"),
        ("fixed", r"fixed"),
        ("", r"dask"),
        ("x" * 60, r"x{53}"),
        ("a{user}" + "x" * 60 + "-{uuid}", r"ajane-doe-examplex{25}-[0-9a-f]{10}"),
        ("{uuid}-" + "x" * 60, r"dask-[0-9a-f]{10}-x{25}"),
        ("a{uuid}-{uuid}", r"a([0-9a-f]{10})-\1"),
    ],
)
def test_names_from_templates(template: str, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM", "Data Science")
    name = cluster_name(None, template)
    assert re.fullmatch(pattern, name)
    assert len(name) <= 53


def test_names_are_unique() -> None:
    assert fitting_name("{uuid}") != fitting_name("{uuid}")


def test_a_name_that_is_given_is_a_template_if_it_has_braces() -> None:
    assert cluster_name("for-{user}", "unused") == "for-jane-doe-example"


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{NO_SUCH_VARIABLE}", "no such environment variable"),
        ("{}", "is not a template"),
        ("dask-{", "is not a template"),
        ("{user.name}", "is not a template"),
    ],
)
def test_templates_that_are_none(template: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        cluster_name(None, template)


@pytest.mark.parametrize("failure", [KeyError("uid not found: 1000"), OSError("no username")])
def test_a_user_without_a_name(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise failure

    monkeypatch.setattr(getpass, "getuser", fail)
    assert cluster_name(None, "of-{user}") == "of-dask"


def test_arguments_and_the_manifest_made_of_them_are_the_same_cluster() -> None:
    config: dict[str, Any] = {"name": "foo", "n_workers": 2, "resources": {"requests": {"memory": "2Gi"}}}
    assert Settings.of(**config).manifest() == Settings.of(custom_cluster_spec=make_cluster_spec(**config)).manifest()
