"""A cluster with the operator installed as users do, and a Pod in it where Dask clients run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.programs import PATIENT
from tests.e2e.session import Session
from tests.support.dask import make_certificates
from tests.support.helm import CHARTS, Helm
from tests.support.kube import Kube, eventually
from tests.support.lanes import shared

OPERATOR_NAMESPACE = "dask-operator"
# What a Secret calls the files that `make_certificates` makes.
TLS_FILES = {"tls.crt": "cert.pem", "tls.key": "key.pem", "ca.crt": "ca.pem"}


@dataclass(frozen=True)
class Image:
    """An image that the cluster has been given."""

    name: str
    tag: str

    @classmethod
    def from_environment(cls, variable: str) -> Image:
        reference = os.environ.get(variable, "")
        if not reference:
            pytest.fail(f"{variable} names no image: run this by `make test-e2e`")
        return cls(*reference.rsplit(":", 1))

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}"


@pytest.fixture(scope="session")
def dask_image() -> Image:
    return Image.from_environment("DASK_IMAGE")


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(Path(os.environ.get("KUBECONFIG", "")))


def operator_settings(operator: Image, dask: Image) -> list[str]:
    """Arguments of helm by which the operator's chart takes images of this repository in the place of released ones."""
    values = {"image.name": operator.name, "image.tag": operator.tag}
    values |= {"test.image.name": dask.name, "test.image.tag": dask.tag}
    return [word for key, value in values.items() for word in ("--set-string", f"{key}={value}")]


@pytest.fixture(scope="session", autouse=True)
def operator(helm: Helm, dask_image: Image, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[None]:
    """The operator's release `dask-operator`, watching all namespaces. Lanes share it."""
    settings = operator_settings(Image.from_environment("OPERATOR_IMAGE"), dask_image)
    chart = str(CHARTS / "dask-kubernetes-operator")
    where = ("--namespace", OPERATOR_NAMESPACE, "--create-namespace")

    def install() -> None:
        helm.run("upgrade", "--install", "dask-operator", chart, *where, *settings, "--wait", "--timeout", "300s")

    def uninstall() -> None:
        helm.run("uninstall", "dask-operator", "--namespace", OPERATOR_NAMESPACE, "--wait")

    folder = tmp_path_factory.getbasetemp()
    with shared((folder if worker_id == "master" else folder.parent) / "operator", install, uninstall):
        yield


@contextmanager
def operator_with(helm: Helm, *settings: str) -> Iterator[None]:
    """The operator's release with these arguments of helm besides, until the end."""
    release = ("dask-operator", "--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout", "300s")
    helm.run("upgrade", *release, str(CHARTS / "dask-kubernetes-operator"), "--reuse-values", *settings)
    try:
        yield
    finally:
        helm.run("rollback", *release)


@dataclass(frozen=True)
class Client:
    """A Pod with Dask in the cluster, where Python runs as a user's would."""

    kube: Kube
    pod: str = "client"

    def python(self, program: str, *arguments: str, seconds: float = 600.0) -> str:
        """What a Python program prints there. Raises CommandError."""
        command = ("exec", "--stdin", self.pod, "--", "python", "-", *arguments)
        return self.kube.run(*command, stdin=program, seconds=seconds)


@pytest.fixture
def client(kube: Kube, dask_image: Image) -> Client:
    return client_of(kube, dask_image)


def client_of(kube: Kube, image: Image, name: str = "client", certificates: str = "") -> Client:
    """The client's Pod, once it runs this image. `certificates`: the Secret with which Dask connects by TLS."""
    container: dict[str, Any] = {"name": "client", "image": str(image), "command": ["sleep", "infinity"]}
    container["env"] = [{"name": key, "value": value} for key, value in PATIENT.items()]
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 0}
    if certificates:
        container["env"] += tls_env("/tls")
        container |= {"volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}
        spec["volumes"] = [{"name": "tls", "secret": {"secretName": certificates}}]
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})

    def ready() -> bool:
        pod = kube.get("pod", name) or {}
        return any(c.get("ready") for c in pod.get("status", {}).get("containerStatuses", []))

    eventually(ready, f"the Pod {name} runs")
    return Client(kube, name)


def tls_env(folder: str) -> list[dict[str, str]]:
    """The variables of one that connects by TLS with the files of a Secret that are in a folder."""
    paths = {"CA_FILE": "ca.crt", "CLIENT__CERT": "tls.crt", "CLIENT__KEY": "tls.key"}
    return [{"name": f"DASK_DISTRIBUTED__COMM__TLS__{key}", "value": f"{folder}/{name}"} for key, name in paths.items()]


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder that `make_certificates` filled."""
    made = tmp_path / "certificates"
    made.mkdir()
    make_certificates(made)
    return made


def put_tls_secret(kube: Kube, name: str, folder: Path) -> None:
    """The certificates of a folder, as cert-manager writes them."""
    keys = [f"--from-file={key}={folder / file}" for key, file in TLS_FILES.items()]
    kube.run("create", "secret", "generic", name, "--type=kubernetes.io/tls", *keys)


def lives(kube: Kube) -> dict[str, tuple[str, int]]:
    """Each Dask Pod's name, with its uid and how often its containers were restarted."""
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            sum(container["restartCount"] for container in pod["status"].get("containerStatuses", [])),
        )
        for pod in kube.objects("pods", "dask.org/cluster-name")
        if not pod["metadata"].get("deletionTimestamp")
    }


def nothing_is_left(kube: Kube) -> None:
    """Of a Dask cluster, in a while."""
    eventually(lambda: not kube.names("daskclusters"), "no DaskCluster is left")
    eventually(lambda: not kube.names("pods", "dask.org/cluster-name"), "no Pod of it is left")


def scheduler_address(kube: Kube, cluster: str) -> str:
    """A cluster's scheduler for a Pod in any namespace."""
    return f"tcp://{cluster}-scheduler.{kube.namespace}.svc:8786"


@pytest.fixture
def session(client: Client, tmp_path: Path) -> Iterator[Callable[[str], Session]]:
    """Opens a session with the named cluster's scheduler."""
    opened: list[Session] = []

    def open_(cluster: str) -> Session:
        log = tmp_path / f"session-{len(opened)}.log"
        opened.append(Session(client.kube, scheduler_address(client.kube, cluster), log))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()
