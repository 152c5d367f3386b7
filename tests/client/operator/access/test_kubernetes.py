"""Each request has its result, and is sent again while the API server is away."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.client.operator.conftest import Kubeconfig, connected
from tests.client.operator.served import a_pod
from tests.support.fake_api import CUT, FakeApi, serve
from tests.support.server import free_port, serving

from dask_kubernetes.exceptions import (
    CredentialsError,
    KubernetesUnreachableError,
    NotPermittedError,
    SchedulerUnreachableError,
    SpecRefusedError,
)
from dask_kubernetes.operator.access.errors import AlreadyExistsError
from dask_kubernetes.operator.access.kubernetes import CLUSTER, NODE, POD, SERVICE, Kubernetes
from dask_kubernetes.operator.manifests.spec import make_cluster_spec
from dask_operator import resources

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


@pytest.mark.parametrize("status", [503, 429, CUT])
async def test_a_server_that_is_away_is_asked_again(kubeconfig: Kubeconfig, status: int) -> None:
    async with connected(kubeconfig, patience=60.0) as (fake, kubernetes):
        fake.fail("GET", resources.CLUSTER, status, times=5)
        assert await kubernetes.get(CLUSTER, "mine", "default") is None
        assert len(fake.asked("GET")) == 6


async def test_patience_is_over_at_its_time(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig, patience=60.0) as (fake, kubernetes):
        fake.fail("GET", resources.CLUSTER, 503, times=1000)
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
        fake.fail("POST", resources.CLUSTER, status, after=True)
        made = await create(kubernetes)
        assert [made] == fake.objects(resources.CLUSTER)


@pytest.mark.parametrize("status", [CUT, 500])
async def test_one_of_somebody_else_is_not_taken_for_that_which_was_to_be_made(
    kubeconfig: Kubeconfig, status: int
) -> None:
    async with connected(kubeconfig, patience=60.0) as (fake, kubernetes):
        await create(kubernetes)
        fake.fail("POST", resources.CLUSTER, status)
        with pytest.raises(AlreadyExistsError):
            await create(kubernetes)


# Credentials


def expiring(kubeconfig: Kubeconfig, fake: FakeApi, count: Path) -> None:
    """Use a plugin that prints the currently valid token, and counts its calls.

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
    """Answer a request with old credentials when new ones already exist."""
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


async def test_a_renewed_token_is_used_before_the_old_one_is_refused(kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with serve() as fake:
        file.write_text(fake.token)
        kubeconfig.write(fake.url, tokenFile=str(file))
        kubernetes = await Kubernetes.connect()
        assert await kubernetes.get(CLUSTER, "mine", "default") is None
        fake.token = "second"
        file.write_text(fake.token)
        assert await kubernetes.get(CLUSTER, "mine", "default") is None
        assert len(fake.asked("GET")) == 2, "no request was refused"
        file.write_text("third")
        kubeconfig.path.write_text("}{")
        assert await kubernetes.get(CLUSTER, "mine", "default") is None, "while there is no other, the old one may do"
        await kubernetes.close()


async def test_credentials_that_remain_refused(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig, patience=60.0) as (fake, kubernetes):
        fake.token = "another"
        with pytest.raises(CredentialsError, match="does not accept your credentials"):
            await kubernetes.get(CLUSTER, "mine", "default")
        assert len(fake.asked("GET")) == 2


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
    """Run a Pod whose port 7 echoes its input."""

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
            fake.fail("GET", resources.POD, status)
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
    """Return a connection whose event loop has ended."""
    kubernetes = await Kubernetes.connect()
    await kubernetes.close()
    return kubernetes


def test_a_delete_without_an_event_loop(fake: FakeApi) -> None:
    uid, kubernetes = put_mine(fake), asyncio.run(kept())
    kubernetes.delete_now(CLUSTER, "mine", "default", "uid-of-another", 5.0)
    assert fake.objects(resources.CLUSTER)
    for _ in range(2):
        kubernetes.delete_now(CLUSTER, "mine", "default", uid, 5.0)
        assert not fake.objects(resources.CLUSTER)


def test_a_delete_without_an_event_loop_and_by_credentials_that_have_expired(
    fake: FakeApi, kubeconfig: Kubeconfig, tmp_path: Path
) -> None:
    expiring(kubeconfig, fake, tmp_path / "asked")
    uid, kubernetes = put_mine(fake), asyncio.run(kept())
    expire(fake, tmp_path / "asked")
    kubernetes.delete_now(CLUSTER, "mine", "default", uid, 5.0)
    assert not fake.objects(resources.CLUSTER)


@pytest.mark.parametrize("status", [403, 503, CUT])
def test_a_delete_that_fails_is_said(fake: FakeApi, status: int) -> None:
    uid, kubernetes = put_mine(fake), asyncio.run(kept())
    fake.fail("DELETE", resources.CLUSTER, status, message='jane cannot delete resource "daskclusters"', times=2)
    with pytest.raises((NotPermittedError, KubernetesUnreachableError)):
        kubernetes.delete_now(CLUSTER, "mine", "default", uid, 5.0)
