"""Each answer of the API server is a result, or an error that says what to do; and one is asked again that is away."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kr8s._auth import KubeAuth
from tests.client.operator.conftest import Kubeconfig, connected
from tests.client.operator.served import a_pod
from tests.support.clock import Run
from tests.support.dask import make_certificates
from tests.support.fake_api import CUT, FakeApi, serve
from tests.support.server import free_port, serving

from dask_kubernetes.exceptions import (
    CredentialsError,
    KubernetesUnreachableError,
    NamespaceNotFoundError,
    NotPermittedError,
    OperatorNotInstalledError,
    SchedulerUnreachableError,
    SpecRefusedError,
)
from dask_kubernetes.operator import kubernetes as module
from dask_kubernetes.operator.kubernetes import CLUSTER, NODE, POD, SERVICE, AlreadyExistsError, Kubernetes
from dask_kubernetes.operator.spec import make_cluster_spec
from dask_operator import actions

MANIFEST = make_cluster_spec("mine")
Act = Callable[[Kubernetes], Coroutine[Any, Any, Any]]


def create(kubernetes: Kubernetes) -> Coroutine[Any, Any, Any]:
    return kubernetes.create(CLUSTER, MANIFEST, "default")


async def test_an_object_from_its_making_to_its_end(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (_, kubernetes):
        assert await kubernetes.get(CLUSTER, "mine", "default") is None
        made = await create(kubernetes)
        assert made["spec"] == MANIFEST["spec"]
        with pytest.raises(AlreadyExistsError):
            await create(kubernetes)
        assert await kubernetes.get(CLUSTER, "mine", "default") == made
        patched = await kubernetes.patch(CLUSTER, "mine", "default", {"spec": {"idleTimeout": 5}})
        assert patched
        assert patched["spec"] == MANIFEST["spec"] | {"idleTimeout": 5}
        assert not await kubernetes.delete(CLUSTER, "mine", "default", "uid-of-another")
        assert await kubernetes.delete(CLUSTER, "mine", "default", made["metadata"]["uid"])
        assert not await kubernetes.delete(CLUSTER, "mine", "default")
        assert await kubernetes.patch(CLUSTER, "mine", "default", {}) is None


async def test_lists_are_of_a_namespace_or_of_all_and_by_labels(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        for name, namespace, labels in (("a", "x", {"l": "1"}), ("b", "x", {"l": "2"}), ("c", "y", {"l": "1"})):
            fake.put({"kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels}})

        async def names(namespace: str | None, labels: dict[str, str] | None = None) -> list[str]:
            return [pod["metadata"]["name"] for pod in await kubernetes.list(POD, namespace, labels)]

        assert await names(None) == ["a", "b", "c"]
        assert await names("x") == ["a", "b"]
        assert await names("x", {"l": "2"}) == ["b"]


async def test_a_delete_leaves_what_it_owns_to_be_collected(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        await kubernetes.delete(CLUSTER, "mine", "default", "u")
        (delete,) = fake.asked("DELETE")
        assert delete.body == {"propagationPolicy": "Background", "preconditions": {"uid": "u"}}


RBAC = (
    'daskclusters.kubernetes.dask.org is forbidden: User "jane" cannot create resource "daskclusters" in API group '
    '"kubernetes.dask.org" in the namespace "default"'
)
QUOTA = (
    'daskclusters.kubernetes.dask.org "mine" is forbidden: exceeded quota: few, requested: '
    "count/daskclusters.kubernetes.dask.org=1, used: count/daskclusters.kubernetes.dask.org=1, limited: "
    "count/daskclusters.kubernetes.dask.org=1"
)
ENDING = (
    'daskclusters.kubernetes.dask.org "mine" is forbidden: unable to create new content in namespace default because '
    "it is being terminated"
)
WEBHOOK = 'admission webhook "policy.example.com" denied the request: images must come from registry.example.com'


@pytest.mark.parametrize(
    ("status", "message", "error", "advice"),
    [
        (403, RBAC, NotPermittedError, "a Role and its RoleBinding"),
        (403, QUOTA, SpecRefusedError, "exceeded quota: few"),
        (403, ENDING, NamespaceNotFoundError, "wait until it is gone"),
        (403, WEBHOOK, SpecRefusedError, "images must come from"),
        (400, WEBHOOK, SpecRefusedError, "images must come from"),
        (
            422,
            "spec.worker: Required value",
            SpecRefusedError,
            "rejected the request: spec.worker: Required",
        ),
        (409, "it exists", AlreadyExistsError, "it exists"),
        (401, "Unauthorized", CredentialsError, "log in again"),
        (429, "too many requests", KubernetesUnreachableError, "429 too many requests"),
        (500, "etcdserver: request timed out", KubernetesUnreachableError, "500 etcdserver: request timed out"),
        (503, "apiserver not ready", KubernetesUnreachableError, "check your network"),
        (CUT, "", KubernetesUnreachableError, "check your network"),
    ],
)
async def test_a_refusal_is_an_error_that_says_what_to_do(
    kubeconfig: Kubeconfig, status: int, message: str, error: type[Exception], advice: str
) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.fail("POST", actions.CLUSTER, status, message=message, times=2)
        with pytest.raises(error) as raised:
            await create(kubernetes)
        assert advice in str(raised.value)
        assert message in str(raised.value) or status == 401


async def test_what_is_no_answer_of_kubernetes_is_said_as_it_is(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.fail("GET", actions.CLUSTER, 502, text="<html>Bad Gateway</html>")
        with pytest.raises(KubernetesUnreachableError, match="502 <html>Bad Gateway</html>"):
            await kubernetes.get(CLUSTER, "mine", "default")
        fake.fail("GET", actions.CLUSTER, 404, text='["a list"]')
        with pytest.raises(OperatorNotInstalledError):
            await kubernetes.get(CLUSTER, "mine", "default")


@pytest.mark.parametrize("act", [create, lambda k: k.get(CLUSTER, "mine", "default"), lambda k: k.list(CLUSTER, None)])
async def test_without_the_operators_definitions_it_says_how_to_install_them(kubeconfig: Kubeconfig, act: Act) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.absent_groups = {"kubernetes.dask.org"}
        with pytest.raises(OperatorNotInstalledError, match="helm install"):
            await act(kubernetes)


async def test_a_namespace_that_is_not_there(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.absent_namespaces = {"nowhere"}
        with pytest.raises(NamespaceNotFoundError, match='namespaces "nowhere" not found: create it with'):
            await kubernetes.create(CLUSTER, MANIFEST, "nowhere")
        assert await kubernetes.list(CLUSTER, "nowhere") == []


async def test_a_verb_and_a_resource_that_are_not_permitted_are_named(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.refuses = lambda seen: seen.plural == "nodes"
        with pytest.raises(NotPermittedError, match='cannot list resource "nodes"'):
            await kubernetes.list(NODE, None)
        assert await kubernetes.list(SERVICE, "default") == []


# Patience


@pytest.mark.parametrize("status", [503, 429, CUT])
async def test_a_server_that_is_away_is_asked_again(kubeconfig: Kubeconfig, status: int) -> None:
    async with connected(kubeconfig, patience=60.0) as (fake, kubernetes):
        fake.fail("GET", actions.CLUSTER, status, times=5)
        assert await kubernetes.get(CLUSTER, "mine", "default") is None
        assert len(fake.asked("GET")) == 6


async def test_patience_is_over_at_its_time(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig, patience=60.0) as (fake, kubernetes):
        fake.fail("GET", actions.CLUSTER, 503, times=1000)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(KubernetesUnreachableError):
            await kubernetes.get(CLUSTER, "mine", "default")
        assert 50.0 < loop.time() - begun <= 60.0
        assert len(fake.asked("GET")) < 30, "with pauses that grow"


async def test_a_server_that_accepts_and_says_nothing_is_away(kubeconfig: Kubeconfig) -> None:
    async def silent(_: Any) -> Any:
        await asyncio.sleep(1e6)

    async with serving(silent) as url:
        kubeconfig.write(url)
        kubernetes = await Kubernetes.connect()
        with pytest.raises(KubernetesUnreachableError, match="ReadTimeout"):
            await kubernetes.get(CLUSTER, "mine", "default")
        await kubernetes.close()


async def test_a_server_that_is_not_there(kubeconfig: Kubeconfig) -> None:
    server = f"http://127.0.0.1:{free_port()}"
    kubeconfig.write(server)
    kubernetes = await Kubernetes.connect()
    with pytest.raises(KubernetesUnreachableError, match=f"{server} does not answer"):
        await kubernetes.get(CLUSTER, "mine", "default")
    await kubernetes.close()


@pytest.mark.parametrize("status", [CUT, 500, 504])
async def test_an_object_that_was_made_without_an_answer_is_what_create_returns(
    kubeconfig: Kubeconfig, status: int
) -> None:
    async with connected(kubeconfig, patience=60.0) as (fake, kubernetes):
        fake.fail("POST", actions.CLUSTER, status, after=True)
        made = await create(kubernetes)
        assert [made] == fake.objects(actions.CLUSTER)


@pytest.mark.parametrize("status", [CUT, 500])
async def test_one_of_somebody_else_is_not_taken_for_that_which_was_to_be_made(
    kubeconfig: Kubeconfig, status: int
) -> None:
    async with connected(kubeconfig, patience=60.0) as (fake, kubernetes):
        await create(kubernetes)
        fake.fail("POST", actions.CLUSTER, status)
        with pytest.raises(AlreadyExistsError):
            await create(kubernetes)


# Credentials


def expiring(kubeconfig: Kubeconfig, fake: FakeApi, count: Path) -> None:
    """A plugin that tells the token which is valid at the time, and how often it was asked.

    It is a process, which takes real time.
    """
    script = count.with_suffix(".py")
    script.write_text(
        "import json, sys\n"
        f"print('once', file=open({str(count)!r}, 'a'))\n"
        f"token = open({str(count.with_suffix('.token'))!r}).read()\n"
        "print(json.dumps({'status': {'token': token}}))\n"
    )
    count.with_suffix(".token").write_text(fake.token)
    version = "client.authentication.k8s.io/v1"
    kubeconfig.write(fake.url, exec={"apiVersion": version, "command": sys.executable, "args": [str(script)]})


def expire(fake: FakeApi, count: Path) -> None:
    fake.token = "second"
    count.with_suffix(".token").write_text(fake.token)


def test_credentials_are_renewed_once_for_all_who_were_refused(kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    count = tmp_path / "asked"

    async def scenario() -> None:
        async with serve() as fake:
            expiring(kubeconfig, fake, count)
            kubernetes = await Kubernetes.connect()
            expire(fake, count)
            many = await asyncio.gather(*(kubernetes.get(CLUSTER, f"c-{n}", "default") for n in range(20)))
            assert many == [None] * 20
            assert count.read_text().split() == ["once"] * 2, "at the beginning, and to renew them"
            await kubernetes.close()

    asyncio.run(scenario())


def test_one_whose_refusal_comes_late_uses_what_others_have_renewed(kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    """A request that was sent by old credentials, and is answered when there are new ones already."""
    count = tmp_path / "asked"
    arrived, answered = asyncio.Event(), asyncio.Event()

    async def scenario() -> None:
        async with serve() as fake:

            async def slow(request: Any) -> Any:
                answer = await fake.answer(request)
                if request.path.endswith("/late") and answer.status == 401:
                    arrived.set()
                    await answered.wait()
                return answer

            async with serving(slow) as url:
                fake.url = url
                expiring(kubeconfig, fake, count)
                kubernetes = await Kubernetes.connect()
                expire(fake, count)
                late = asyncio.ensure_future(kubernetes.get(CLUSTER, "late", "default"))
                await arrived.wait()
                assert await kubernetes.get(CLUSTER, "prompt", "default") is None
                answered.set()
                assert await late is None
                assert count.read_text().split() == ["once"] * 2
                await kubernetes.close()

    asyncio.run(scenario())


async def test_credentials_that_remain_refused(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig, patience=60.0) as (fake, kubernetes):
        fake.token = "another"
        with pytest.raises(CredentialsError, match="does not accept your credentials"):
            await kubernetes.get(CLUSTER, "mine", "default")
        assert len(fake.asked("GET")) == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "Unable to find valid credentials"),
        ("- not\n- a kubeconfig", ""),
        ("}{", ""),
        (json.dumps({"current-context": "elsewhere", "contexts": []}), "elsewhere"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_named(
    run: Run, kubeconfig: Kubeconfig, content: str | None, why: str
) -> None:
    if content is not None:
        kubeconfig.path.write_text(content)
    with pytest.raises(CredentialsError, match="cannot be used") as raised:
        run(Kubernetes.connect())
    assert str(kubeconfig.path) in str(raised.value)
    assert why in str(raised.value)


@pytest.mark.parametrize("command", ["no-such-plugin", "false"])
def test_a_credential_plugin_that_fails(run: Run, kubeconfig: Kubeconfig, command: str) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": command}
    kubeconfig.write("http://127.0.0.1:1", exec=plugin)
    with pytest.raises(CredentialsError, match=str(kubeconfig.path)):
        run(Kubernetes.connect())


def test_an_empty_variable_is_none(
    run: Run, kubeconfig: Kubeconfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    Kubeconfig(tmp_path / ".kube/config").write("http://server:1", namespace="mine")
    assert run(namespace_and_server()) == ("mine", "http://server:1")


async def namespace_and_server() -> tuple[str, str]:
    kubernetes = await Kubernetes.connect()
    await kubernetes.close()
    return kubernetes.namespace, kubernetes.server


def test_the_namespace_is_that_of_the_context_or_else_default(run: Run, kubeconfig: Kubeconfig) -> None:
    kubeconfig.write("http://server:1", namespace="mine")
    assert run(namespace_and_server())[0] == "mine"
    kubeconfig.write("http://server:1")
    assert run(namespace_and_server())[0] == "default"


def test_in_a_pod_the_namespace_is_the_pods_own(
    run: Run, kubeconfig: Kubeconfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_file(auth: Any) -> None:
        auth.server = "https://10.0.0.1:443"

    (tmp_path / "namespace").write_text("pods\n")
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setattr("kr8s._auth.KubeAuth._load_service_account", no_file)
    assert run(namespace_and_server()) == ("pods", "https://10.0.0.1:443")
    kubeconfig.write("http://server:1", namespace="mine")
    assert run(namespace_and_server())[0] == "mine", "a kubeconfig comes first, as for kubectl"


OWN_SERVER = "https://10.96.0.1:443"
OWN, OTHER = "own.pem", "other.pem"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The certificates of that of this Pod's Kubernetes, and of another one's."""
    certificates = {}
    for name in (OWN, OTHER):
        folder = tmp_path_factory.mktemp(name)
        make_certificates(folder)
        certificates[name] = (folder / "ca.pem").read_text()
    return certificates


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authorities: dict[str, str]) -> Path:
    """What a Pod has of its Kubernetes: variables, and this folder of its ServiceAccount."""
    account = tmp_path / "serviceaccount"
    account.mkdir()
    for name, content in {"ca.crt": authorities[OWN], "token": "valid", "namespace": "pods"}.items():
        (account / name).write_text(content)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(module, "SERVICE_ACCOUNT", account)
    return account


async def is_inside() -> bool:
    kubernetes = await Kubernetes.connect()
    await kubernetes.close()
    return kubernetes.inside


def trusting(*certificates: str) -> dict[str, str]:
    return {"certificate-authority-data": b64encode("\n".join(certificates).encode()).decode()}


@pytest.mark.parametrize(
    ("server", "inside"),
    [
        (OWN_SERVER, True),
        ("https://10.96.0.1", True),
        ("https://kubernetes.default", True),
        ("https://Kubernetes.default.svc", True),
        ("https://kubernetes.default.svc.cluster.local:443", True),
        ("https://10.96.0.1:6443", False),
        ("https://10.96.0.2", False),
        ("https://kubernetes.default.svc:6443", False),
        ("https://kubernetes.default.svcs", False),
        ("https://kubernetes.docker.internal", False),
        ("https://api.example.com", False),
        ("https://[fd00::1]", False),
        ("http://10.96.0.1:443", False),
    ],
)
def test_an_authority_that_several_have_proves_nothing_at_another_address(
    run: Run, kubeconfig: Kubeconfig, own: Path, authorities: dict[str, str], server: str, inside: bool
) -> None:
    kubeconfig.write(server, cluster=trusting(authorities[OWN]))
    assert run(is_inside()) == inside


def test_the_pods_own_api_server_may_have_any_address(
    run: Run, kubeconfig: Kubeconfig, own: Path, authorities: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    for host, server in (("fd00::1", "https://[fd00::1]:6443"), ("API.example.com", "https://API.example.com:6443")):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        kubeconfig.write(server, cluster=trusting(authorities[OWN]))
        assert run(is_inside()), server


def test_a_service_account_is_that_of_this_pods_kubernetes(
    run: Run, kubeconfig: Kubeconfig, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no kubeconfig, as in most Pods."""
    known = KubeAuth._load_service_account

    async def of_folder(auth: Any) -> None:
        auth._serviceaccount = str(own)
        await known(auth)

    monkeypatch.setattr(KubeAuth, "_load_service_account", of_folder)
    assert run(namespace_and_server()) == ("pods", OWN_SERVER)
    assert run(is_inside())


@pytest.mark.parametrize(
    ("has", "trusts", "inside"),
    [
        ((OWN,), (OWN,), True),
        ((OWN, OTHER), (OWN,), True),
        ((OWN,), (OTHER,), False),
        ((OWN,), (OWN, OTHER), False),
        ((OWN,), (), False),
    ],
)
def test_an_address_that_many_have_proves_nothing_without_the_authority(
    run: Run,
    kubeconfig: Kubeconfig,
    own: Path,
    authorities: dict[str, str],
    has: tuple[str, ...],
    trusts: tuple[str, ...],
    inside: bool,
) -> None:
    (own / "ca.crt").write_text("\n".join(authorities[name] for name in has))
    kubeconfig.write(OWN_SERVER, cluster=trusting(*(authorities[name] for name in trusts)) if trusts else None)
    assert run(is_inside()) == inside


def test_an_authority_is_the_same_however_its_file_is_written(
    run: Run, kubeconfig: Kubeconfig, own: Path, authorities: dict[str, str]
) -> None:
    kubeconfig.write(OWN_SERVER, cluster=trusting("# ours", authorities[OWN].replace("\n", "\r\n")))
    assert run(is_inside())


def test_an_authority_that_is_not_read_proves_nothing(
    run: Run, kubeconfig: Kubeconfig, own: Path, tmp_path: Path, authorities: dict[str, str]
) -> None:
    """In a form that TLS knows beside the usual one; and there is none, but a certificate of the user's."""
    kubeconfig.write(OWN_SERVER, cluster=trusting(authorities[OTHER].replace("CERTIFICATE", "X509 CERTIFICATE")))
    assert not run(is_inside())
    make_certificates(tmp_path)
    files = {"client-certificate": str(tmp_path / "cert.pem"), "client-key": str(tmp_path / "key.pem")}
    kubeconfig.write(OWN_SERVER, **files)
    assert not run(is_inside())


@pytest.mark.parametrize("cluster", [{"proxy-url": "http://127.0.0.1:1"}, {"insecure-skip-tls-verify": True}])
def test_who_answers_by_a_proxy_or_unverified_may_be_another(
    run: Run, kubeconfig: Kubeconfig, own: Path, authorities: dict[str, str], cluster: dict[str, Any]
) -> None:
    kubeconfig.write(OWN_SERVER, cluster=trusting(authorities[OWN]) | cluster)
    assert not run(is_inside())


def test_without_a_service_account_or_in_no_pod_it_cannot_be_told(
    run: Run, kubeconfig: Kubeconfig, own: Path, authorities: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig.write(OWN_SERVER, cluster=trusting(authorities[OWN]))
    (own / "ca.crt").unlink()
    assert not run(is_inside())
    (own / "ca.crt").write_text(authorities[OWN])
    assert run(is_inside())
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    assert not run(is_inside())


def test_a_certificate_is_used_and_no_copy_of_it_stays(
    run: Run, kubeconfig: Kubeconfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificates(tmp_path)
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
    server.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    data = {kind: b64encode((tmp_path / f"{kind}.pem").read_bytes()).decode() for kind in ("ca", "cert", "key")}
    names: list[str] = []
    server.sni_callback = lambda _, name, __: names.append(name)

    async def scenario() -> None:
        fake = FakeApi()
        async with serving(fake.answer, server) as fake.url:
            cluster = {"certificate-authority-data": data["ca"], "tls-server-name": "dask"}
            user = {"client-certificate-data": data["cert"], "client-key-data": data["key"], "token": "valid"}
            kubeconfig.write(fake.url, cluster=cluster, **user)
            kubernetes = await Kubernetes.connect()
            assert await kubernetes.list(POD, "default") == []
            await asyncio.to_thread(kubernetes.delete_now, CLUSTER, "mine", "default", None, 5.0)
            await kubernetes.close()

    asyncio.run(scenario())
    assert names == ["dask", "dask"]
    assert list(copies.iterdir()) == []


def test_a_certificate_of_the_users_own_stays(run: Run, kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    cluster = {"certificate-authority": str(tmp_path / "ca.pem")}
    files = {"client-certificate": str(tmp_path / "cert.pem"), "client-key": str(tmp_path / "key.pem")}
    kubeconfig.write("https://127.0.0.1:1", cluster=cluster, **files)
    run(namespace_and_server())
    assert {"ca.pem", "cert.pem", "key.pem"} <= {file.name for file in tmp_path.iterdir()}


# Logs


async def test_logs(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.put(a_pod("p"))
        fake.put(a_pod("waits", phase="Pending"))
        fake.logs = {"p": "one\ntwo\nthree\n"}
        assert await kubernetes.log("p", "dask", "default") == "one\ntwo\nthree\n"
        assert await kubernetes.log("p", "dask", "default", lines=1) == "three\n"
        assert await kubernetes.log("p", "dask", "default", previous=True) == ""
        assert await kubernetes.log("waits", "dask", "default") == ""
        assert await kubernetes.log("absent", "dask", "default") == ""
        fake.logs["p/"] = "before"
        assert await kubernetes.log("p", "dask", "default", previous=True) == "before"
        fake.refuses = lambda seen: seen.resource == "pods/log"
        with pytest.raises(NotPermittedError, match="pods/log"):
            await kubernetes.log("p", "dask", "default")


# Ports


@asynccontextmanager
async def echo(fake: FakeApi, pod: str) -> AsyncIterator[None]:
    """A Pod whose port 7 says what it hears."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    fake.put(a_pod(pod))
    fake.ports[pod, 7] = server.sockets[0].getsockname()[1]
    async with server:
        yield


def test_a_port_stays_open_while_other_requests_are_refused_and_credentials_renewed(
    kubeconfig: Kubeconfig, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with serve() as fake, echo(fake, "p"):
            expiring(kubeconfig, fake, tmp_path / "asked")
            kubernetes = await Kubernetes.connect()
            async with kubernetes.port("p", 7, "default") as websocket:
                assert [await websocket.receive_bytes() for _ in range(2)] == [b"\0\7\0", b"\1\7\0"]
                fake.refuses = lambda seen: seen.plural == "nodes"
                with pytest.raises(NotPermittedError):
                    await kubernetes.list(NODE, None)
                expire(fake, tmp_path / "asked")
                assert await kubernetes.list(SERVICE, "default") == []
                await websocket.send_bytes(b"\0hello")
                assert await websocket.receive_bytes() == b"\0hello"
            await kubernetes.close()

    asyncio.run(scenario())


async def test_a_port_that_is_not_opened_says_why(kubeconfig: Kubeconfig) -> None:
    async def opened(kubernetes: Kubernetes, pod: str) -> None:
        async with kubernetes.port(pod, 7, "default"):
            raise AssertionError("it cannot be opened")

    async with connected(kubeconfig) as (fake, kubernetes), echo(fake, "p"):
        with pytest.raises(SchedulerUnreachableError, match="no longer exists"):
            await opened(kubernetes, "absent")
        fake.put(a_pod("waits", phase="Pending"))
        with pytest.raises(SpecRefusedError, match="does not have a host assigned"):
            await opened(kubernetes, "waits")
        for status in (CUT, 500):
            fake.fail("GET", actions.POD, status)
            with pytest.raises(KubernetesUnreachableError):
                await opened(kubernetes, "p")
        fake.refuses = lambda seen: seen.resource == "pods/portforward"
        with pytest.raises(NotPermittedError, match="pods/portforward"):
            await opened(kubernetes, "p")


async def test_what_goes_wrong_at_this_end_of_a_port_is_no_fault_of_the_server(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes), echo(fake, "p"):
        with pytest.raises(ConnectionResetError, match="here"):
            async with kubernetes.port("p", 7, "default"):
                raise ConnectionResetError("here")


def test_expired_credentials_are_renewed_for_the_next_port(kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serve() as fake, echo(fake, "p"):
            expiring(kubeconfig, fake, tmp_path / "asked")
            kubernetes = await Kubernetes.connect()
            expire(fake, tmp_path / "asked")
            with pytest.raises(CredentialsError, match="the next attempt uses renewed ones"):
                async with kubernetes.port("p", 7, "default"):
                    raise AssertionError("it cannot be opened")
            async with kubernetes.port("p", 7, "default") as websocket:
                assert await websocket.receive_bytes() == b"\0\7\0"
            await kubernetes.close()

    asyncio.run(scenario())


# Without an event loop


def put_mine(fake: FakeApi) -> str:
    return str(fake.put({**MANIFEST, "metadata": {"name": "mine", "namespace": "default"}})["metadata"]["uid"])


async def kept() -> Kubernetes:
    """One whose event loop has ended."""
    kubernetes = await Kubernetes.connect()
    await kubernetes.close()
    return kubernetes


def test_a_delete_without_an_event_loop(fake: FakeApi) -> None:
    uid, kubernetes = put_mine(fake), asyncio.run(kept())
    kubernetes.delete_now(CLUSTER, "mine", "default", "uid-of-another", 5.0)
    assert fake.objects(actions.CLUSTER)
    for _ in range(2):
        kubernetes.delete_now(CLUSTER, "mine", "default", uid, 5.0)
        assert not fake.objects(actions.CLUSTER)


def test_a_delete_without_an_event_loop_and_by_credentials_that_have_expired(
    fake: FakeApi, kubeconfig: Kubeconfig, tmp_path: Path
) -> None:
    expiring(kubeconfig, fake, tmp_path / "asked")
    uid, kubernetes = put_mine(fake), asyncio.run(kept())
    expire(fake, tmp_path / "asked")
    kubernetes.delete_now(CLUSTER, "mine", "default", uid, 5.0)
    assert not fake.objects(actions.CLUSTER)


@pytest.mark.parametrize("status", [403, 503, CUT])
def test_a_delete_that_fails_is_said(fake: FakeApi, status: int) -> None:
    uid, kubernetes = put_mine(fake), asyncio.run(kept())
    fake.fail("DELETE", actions.CLUSTER, status, message='jane cannot delete resource "daskclusters"', times=2)
    with pytest.raises((NotPermittedError, KubernetesUnreachableError)):
        kubernetes.delete_now(CLUSTER, "mine", "default", uid, 5.0)
