"""The API server and its credentials, from kubeconfigs and in Pods."""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.client.operator.conftest import Kubeconfig
from tests.support.clock import Run
from tests.support.dask import make_certificates
from tests.support.fake_api import FakeApi
from tests.support.server import serving, verify_strictly

from dask_kubernetes.exceptions import (
    CredentialsError,
)
from dask_kubernetes.operator.access import credentials as module
from dask_kubernetes.operator.access.credentials import Credentials
from dask_kubernetes.operator.access.kubernetes import CLUSTER, POD, Kubernetes


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "it does not exist, or is empty"),
        ("", "it does not exist, or is empty"),
        ("- not\n- a kubeconfig", "is no kubeconfig"),
        ("}{", ""),
        (json.dumps({"current-context": "elsewhere", "contexts": []}), "it has no context elsewhere"),
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


OWN_SERVER = "https://10.96.0.1:443"
OWN, OTHER = "own.pem", "other.pem"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Certificates of two authorities: this Pod's Kubernetes', and another one's."""
    certificates = {}
    for name in (OWN, OTHER):
        folder = tmp_path_factory.mktemp(name)
        make_certificates(folder)
        certificates[name] = (folder / "ca.pem").read_text()
    return certificates


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authorities: dict[str, str]) -> Path:
    """A Pod's credentials for its Kubernetes: variables, and this folder of its ServiceAccount."""
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


@pytest.mark.parametrize(("host", "server"), [("10.96.0.1", OWN_SERVER), ("fd00::1", "https://[fd00::1]:443")])
def test_a_service_account_is_that_of_this_pods_kubernetes(
    run: Run, kubeconfig: Kubeconfig, own: Path, monkeypatch: pytest.MonkeyPatch, host: str, server: str
) -> None:
    """Use no kubeconfig, as in most Pods."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    assert run(namespace_and_server()) == ("pods", server)
    assert run(is_inside())
    found = run(Credentials.read())
    assert (found.token, found.token_file) == ("valid", own / "token")
    kubeconfig.write("http://server:1", namespace="mine")
    assert run(namespace_and_server())[0] == "mine", "a kubeconfig comes first, as for kubectl"
    assert run(found.renewed()).server == server, "but not for those who began without one"
    (own / "namespace").unlink()
    kubeconfig.path.unlink()
    assert run(namespace_and_server())[0] == "default"


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
    """Try a form that TLS knows beside the usual one, and no authority but a certificate of the user's."""
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


PROXY = "http://127.0.0.1:1"


@pytest.mark.parametrize(("exceptions", "proxy"), [("10.0.0.0/8,.svc", None), ("172.16.0.0/12", PROXY)])
def test_a_network_in_no_proxy_is_asked_directly(
    run: Run, kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch, exceptions: str, proxy: str | None
) -> None:
    for name, value in {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, "NO_PROXY": exceptions}.items():
        monkeypatch.setenv(name, value)
        monkeypatch.delenv(name.lower(), raising=False)
    kubeconfig.write(OWN_SERVER)
    found = run(Credentials.read())
    assert found.proxy == proxy

    async def proxies() -> set[bool]:
        async with found.session(1.0) as session:
            return {isinstance(mount, httpx.AsyncHTTPTransport) for mount in session._mounts.values()}

    assert run(proxies()) == (set() if proxy is None else {True})
    kubeconfig.write(OWN_SERVER, cluster={"proxy-url": "http://127.0.0.1:2"})
    assert run(Credentials.read()).proxy == "http://127.0.0.1:2", "the kubeconfig comes first"


async def test_who_is_reached_by_a_proxy_of_the_environment_may_be_another(
    kubeconfig: Kubeconfig, own: Path, authorities: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig.write(OWN_SERVER, cluster=trusting(authorities[OWN]))
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert not await is_inside()
    monkeypatch.setenv("NO_PROXY", "10.96.0.0/12")
    assert await is_inside()


@pytest.mark.parametrize("how", ["an authority", "authorities of this machine", "a certificate alone"])
def test_authorities_of_old_clusters_are_accepted(
    run: Run, kubeconfig: Kubeconfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Use an authority without key usage, which Python 3.13 rejects by default and kubectl does not."""
    make_certificates(tmp_path)
    verify_strictly(monkeypatch)
    files = {"client-certificate": str(tmp_path / "cert.pem"), "client-key": str(tmp_path / "key.pem")}
    authority = {"certificate-authority": str(tmp_path / "ca.pem")} if how == "an authority" else {}
    kubeconfig.write(OWN_SERVER, cluster=authority, **(files if how == "a certificate alone" else {}))
    found = run(Credentials.read()).ssl
    assert found.verify_mode == ssl.CERT_REQUIRED
    assert not found.verify_flags & ssl.VERIFY_X509_STRICT
    assert found.get_ca_certs(), "there are authorities to verify by"


def token(**claims: Any) -> str:
    """Return a JSON Web Token."""
    parts = (json.dumps({"alg": "none"}), json.dumps(claims), "signature")
    return ".".join(b64encode(part.encode()).decode().rstrip("=") for part in parts)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        (token(exp=10_000), {9_900: False, 9_940: True, 20_000: True}),
        (token(exp=1_050), {1_050: False, 20_000: False}),
        (token(sub="x"), {20_000: False}),
        (token(exp="soon"), {20_000: False}),
        ("k8s-aws-v1.abc", {20_000: False}),
        ("opaque", {20_000: False}),
        ("a.b.c", {20_000: False}),
    ],
)
def test_a_token_is_renewed_before_it_ends_if_it_says_when(
    run: Run, kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch, text: str, times: dict[float, bool]
) -> None:
    """Check that a token which has expired when it is read is not renewed at each request."""
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 1_000.0))
    kubeconfig.write("http://server:1", token=text)
    found = run(Credentials.read())
    assert {at: found.is_outdated(at) for at in times} == times


def test_a_token_in_a_file_is_the_one_that_is_there_now(run: Run, kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    """Use a `tokenFile` that is relative to the kubeconfig."""
    file = tmp_path / "tokens"
    file.write_text("first\n")
    for named in (str(file), "tokens"):
        file.write_text("first\n")
        kubeconfig.write("http://server:1", tokenFile=named)
        found = run(Credentials.read())
        assert (found.token, found.is_outdated(0.0)) == ("first", False)
        file.write_text("second\n")
        assert found.is_outdated(0.0)
        assert run(found.renewed()).token == "second"
    file.unlink()
    assert not found.is_outdated(0.0), "it may be there again soon"


def test_renewed_credentials_are_of_the_same_kubeconfig_and_context(
    run: Run, kubeconfig: Kubeconfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check it while the program and the user connect to other clusters."""
    kubeconfig.write("http://one:1", token="one")
    found = run(Credentials.read())
    other = Kubeconfig(tmp_path / "other")
    other.write("http://two:1", token="two")
    monkeypatch.setenv("KUBECONFIG", str(other.path))
    assert run(found.renewed()).server == "http://one:1"
    config = json.loads(kubeconfig.path.read_text())
    config["contexts"].append({"name": "there", "context": {"cluster": "d", "user": "u"}})
    config["clusters"].append({"name": "d", "cluster": {"server": "http://three:1"}})
    kubeconfig.path.write_text(json.dumps(config | {"current-context": "there"}))
    assert replace(run(found.renewed()), ssl=found.ssl) == found
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig.path))
    assert run(Credentials.read()).server == "http://three:1"


def test_credentials_of_a_plugin_are_renewed_before_they_end(
    run: Run, kubeconfig: Kubeconfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: 1_000.0))
    answer = {"status": {"token": "of-a-plugin", "expirationTimestamp": "1970-01-01T01:00:00Z"}}
    (tmp_path / "answer").write_text(json.dumps(answer))
    kubeconfig.write("http://server:1", exec={"command": "cat", "args": [str(tmp_path / "answer")]})
    found = run(Credentials.read())
    assert found.token == found.renewed_now().token == "of-a-plugin"
    assert {at: found.is_outdated(at) for at in (3_539.0, 3_540.0)} == {3_539.0: False, 3_540.0: True}


def test_a_plugin_may_give_a_certificate_and_a_token(run: Run, kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    texts = {name: (tmp_path / f"{name}.pem").read_text() for name in ("cert", "key")}
    status = {"token": "t", "clientCertificateData": texts["cert"], "clientKeyData": texts["key"]}
    (tmp_path / "answer").write_text(json.dumps({"status": status}))
    kubeconfig.write("https://server:1", exec={"command": "cat", "args": [str(tmp_path / "answer")]})
    with pytest.MonkeyPatch.context() as patch:
        loaded: list[str] = []
        patch.setattr(ssl.SSLContext, "load_cert_chain", lambda _, *files: loaded.extend(map(Path.read_text, files)))
        assert run(Credentials.read()).token == "t"
    assert loaded == [texts["cert"], texts["key"]]


def test_a_user_may_act_as_another(run: Run, kubeconfig: Kubeconfig, fake: FakeApi) -> None:
    """Use the fields by which kubectl sends other names than the user's own."""
    other: dict[str, Any] = {
        "as": "jane",
        "as-uid": "7",
        "as-groups": ["a", "b"],
        "as-user-extra": {"scopes/x": ["view"]},
    }
    kubeconfig.write(fake.url, token="valid", **other)
    found = run(Credentials.read())
    assert found.impersonation == (
        *(("Impersonate-User", "jane"), ("Impersonate-Uid", "7"), ("Impersonate-Group", "a")),
        *(("Impersonate-Group", "b"), ("Impersonate-Extra-scopes%2Fx", "view")),
    )

    async def headers() -> Any:
        async with found.session(1.0) as session:
            return session.headers

    sent = run(headers())
    assert sent.get_list("Impersonate-Group") == ["a", "b"]
    assert (sent["Authorization"], sent["Impersonate-User"]) == ("Bearer valid", "jane")


def test_who_has_no_user_is_anonymous_and_tokens_may_be_numbers(run: Run, kubeconfig: Kubeconfig) -> None:
    kubeconfig.write("http://server:1", token=12345)
    assert run(Credentials.read()).token == "12345"
    config = json.loads(kubeconfig.path.read_text())
    config["contexts"][0]["context"]["user"] = ""
    kubeconfig.path.write_text(json.dumps(config))
    assert run(Credentials.read()).token is None


@pytest.mark.parametrize(
    ("user", "cluster", "why"),
    [
        ({"username": "a", "password": "b"}, {}, "no longer accepts passwords"),
        ({"auth-provider": {"name": "gcp"}}, {}, "auth-provider gcp: use a credential plugin"),
        ({"token": "t"}, {"proxy-url": "socks5://127.0.0.1:1"}, r"pip install 'httpx\[socks\]'"),
    ],
)
def test_what_cannot_be_used_says_what_to_do(
    run: Run, kubeconfig: Kubeconfig, user: dict[str, Any], cluster: dict[str, Any], why: str
) -> None:
    kubeconfig.write("https://server:1", cluster=cluster, **user)
    with pytest.raises(CredentialsError, match=why):
        run(Credentials.read())


def test_a_token_of_the_oidc_provider_is_used(run: Run, kubeconfig: Kubeconfig) -> None:
    user: dict[str, Any] = {"auth-provider": {"name": "oidc", "config": {"id-token": "t"}}}
    kubeconfig.write("http://server:1", **user)
    assert run(Credentials.read()).token == "t"


async def test_the_path_of_a_server_is_kept(kubeconfig: Kubeconfig) -> None:
    """Use an address as gateways to several Kubernetes clusters have it."""
    kubeconfig.write("https://gateway.example.com/k8s/clusters/c-1", token="valid")
    async with (await Credentials.read()).session(1.0) as session:
        assert session.build_request("GET", "/api/v1/pods").url.path == "/k8s/clusters/c-1/api/v1/pods"
