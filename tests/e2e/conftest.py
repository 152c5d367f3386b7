"""A cluster with the operator installed as users do it, and a Pod in it for Dask clients."""

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
# The names in a Secret of the files of `make_certificates`.
TLS_FILES = {"tls.crt": "cert.pem", "tls.key": "key.pem", "ca.crt": "ca.pem"}


@dataclass(frozen=True)
class Image:
    """An image loaded into the cluster."""

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
    """Return helm's arguments that make the operator's chart use this repository's images instead of released ones."""
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
    """Add these arguments of helm to the operator's release until the end of the block."""
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
        """Return the output of a Python program in the Pod. Raises CommandError."""
        command = ("exec", "--stdin", self.pod, "--", "python", "-", *arguments)
        return self.kube.run(*command, stdin=program, seconds=seconds)


@pytest.fixture
def client(kube: Kube, dask_image: Image) -> Client:
    return client_of(kube, dask_image)


def client_of(kube: Kube, image: Image, name: str = "client", certificates: str = "") -> Client:
    """Return the client's running Pod with this image. `certificates`: the Secret for Dask's connections by TLS."""
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
    """Return the environment variables for TLS with the files of a Secret in a folder."""
    paths = {"CA_FILE": "ca.crt", "CLIENT__CERT": "tls.crt", "CLIENT__KEY": "tls.key"}
    return [{"name": f"DASK_DISTRIBUTED__COMM__TLS__{key}", "value": f"{folder}/{name}"} for key, name in paths.items()]


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder filled by `make_certificates`."""
    made = tmp_path / "certificates"
    made.mkdir()
    make_certificates(made)
    return made


def put_tls_secret(kube: Kube, name: str, folder: Path) -> None:
    """Create the Secret of a folder's certificates, as cert-manager does."""
    keys = [f"--from-file={key}={folder / file}" for key, file in TLS_FILES.items()]
    kube.run("create", "secret", "generic", name, "--type=kubernetes.io/tls", *keys)


def lives(kube: Kube) -> dict[str, tuple[str, int]]:
    """Return each Dask Pod's name, with its uid and its containers' restarts."""
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            sum(container["restartCount"] for container in pod["status"].get("containerStatuses", [])),
        )
        for pod in kube.objects("pods", "dask.org/cluster-name")
        if not pod["metadata"].get("deletionTimestamp")
    }


def nothing_is_left(kube: Kube) -> None:
    """Wait until nothing of a Dask cluster is left."""
    eventually(lambda: not kube.names("daskclusters"), "no DaskCluster is left")
    eventually(lambda: not kube.names("pods", "dask.org/cluster-name"), "no Pod of it is left")


def scheduler_address(kube: Kube, cluster: str) -> str:
    """Return the address of a cluster's scheduler for Pods in any namespace."""
    return f"tcp://{cluster}-scheduler.{kube.namespace}.svc:8786"


@pytest.fixture
def session(client: Client, tmp_path: Path) -> Iterator[Callable[[str], Session]]:
    """A function that opens a session with the named cluster's scheduler."""
    opened: list[Session] = []

    def open_(cluster: str) -> Session:
        log = tmp_path / f"session-{len(opened)}.log"
        opened.append(Session(client.kube, scheduler_address(client.kube, cluster), log))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def put_quota(kube: Kube, name: str, pods: int) -> None:
    """Allow a namespace this number of Pods."""
    kube.run("create", "quota", name, f"--hard=pods={pods}")
    eventually(lambda: kube.status("resourcequota", name).get("hard"), "the quota is in force")
