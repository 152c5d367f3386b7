"""A KubeCluster's session: a DaskCluster found or made, and deleted if it was made here and cannot be used."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import Scheduler, Security
from distributed.utils import format_dashboard_link
from tests.client.operator.conftest import Kubeconfig
from tests.client.operator.served import Operator, a_pod
from tests.support.dask import client_tls, make_certificates
from tests.support.fake_api import CUT, FakeApi, serve
from tests.support.server import free_port

from dask_kubernetes.exceptions import (
    ClusterExistsError,
    ClusterNotFoundError,
    DaskKubernetesError,
    KubernetesUnreachableError,
    OperatorNotRespondingError,
    SchedulerUnreachableError,
    ValidationError,
)
from dask_kubernetes.operator.access.connect import Connection
from dask_kubernetes.operator.manifests.spec import make_cluster_spec
from dask_kubernetes.operator.session import Session
from dask_kubernetes.operator.settings import Settings
from dask_operator import resources

pytestmark = pytest.mark.real_time

SOMEBODYS = {**make_cluster_spec("mine"), "metadata": {"name": "mine", "namespace": "default"}}


class Listener:
    scheduler_info: Any = None

    def _update_worker_status(self, op: str, msg: Any) -> None: ...


@dataclass
class World:
    """An API server, an operator, and a running scheduler."""

    fake: FakeApi
    operator: Operator
    listener: Listener

    async def open(self, **settings: Any) -> Session:
        reports: list[str] = []
        whole: dict[str, Any] = {"name": "mine", "resource_timeout": 10.0} | settings
        return await Session.open(Settings.of(**whole), self.listener, Security(), lambda _, note: reports.append(note))

    @property
    def clusters(self) -> list[Any]:
        return self.fake.objects(resources.CLUSTER)

    def somebody_makes_one(self) -> Any:
        made = self.fake.put(SOMEBODYS)
        self.operator.take_up(made)
        return made


@asynccontextmanager
async def world(kubeconfig: Kubeconfig) -> AsyncIterator[World]:
    with dask.config.set({"distributed.scheduler.http.routes": []}):
        async with (
            serve() as fake,
            Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0", dashboard=False) as scheduler,
        ):
            kubeconfig.write(fake.url)
            yield World(fake, Operator(fake, int(scheduler.port), int(scheduler.http_server.port)), Listener())


async def test_one_is_made_and_connected_to(kubeconfig: Kubeconfig) -> None:
    async with world(kubeconfig) as there:
        session = await there.open()
        assert session.created
        assert session.address.startswith("tcp://127.0.0.1:")
        assert there.listener.scheduler_info["workers"] == {}
        _, writer = await asyncio.open_connection(*session.dashboard)
        writer.close()
        there.fake.put(a_pod("w", {"dask.org/cluster-name": "mine"}))
        assert len((await session.refresh()).pods) == 2
        await session.close()
        assert len(there.clusters) == 1, "which is not what deletes it"
        with pytest.raises(OSError):
            await asyncio.open_connection(*session.dashboard)


@pytest.mark.parametrize(
    ("mode", "there_is", "outcome"),
    [
        ("CREATE_ONLY", False, True),
        ("CREATE_ONLY", True, ClusterExistsError),
        ("CONNECT_ONLY", False, ClusterNotFoundError),
        ("CONNECT_ONLY", True, False),
        ("CREATE_OR_CONNECT", False, True),
        ("CREATE_OR_CONNECT", True, False),
    ],
)
async def test_whether_it_is_made(kubeconfig: Kubeconfig, mode: str, there_is: bool, outcome: Any) -> None:
    async with world(kubeconfig) as there:
        known = [there.somebody_makes_one()["metadata"]["uid"]] if there_is else []
        if isinstance(outcome, bool):
            session = await there.open(create_mode=mode)
            assert session.created == outcome
            await session.close()
        else:
            with pytest.raises(outcome):
                await there.open(create_mode=mode)
            assert [cluster["metadata"]["uid"] for cluster in there.clusters] == known


async def test_one_that_somebody_makes_at_the_same_time_is_connected_to(kubeconfig: Kubeconfig) -> None:
    async with world(kubeconfig) as there:
        there.somebody_makes_one()
        there.fake.fail("GET", resources.CLUSTER, 404, text=NOT_YET)
        session = await there.open()
        assert not session.created
        await session.close()


NOT_YET = '{"kind": "Status", "details": {"name": "mine", "kind": "daskclusters"}}'


@pytest.mark.parametrize("made_here", [True, False])
@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("no operator", OperatorNotRespondingError),
        ("no answer", SchedulerUnreachableError),
        ("dashboard's port in use", ValidationError),
        ("no port", SchedulerUnreachableError),
    ],
)
async def test_what_fails_is_deleted_if_it_was_made_here(
    kubeconfig: Kubeconfig, made_here: bool, what: str, error: type[DaskKubernetesError]
) -> None:
    async with world(kubeconfig) as there:
        settings: dict[str, Any] = {"resource_timeout": 0.5}
        match what:
            case "no operator":
                there.operator.absent = True
            case "no answer":
                there.operator.lead_to(free_port(), free_port())
            case "no port":
                there.operator.lead_to(0, 0)
                settings["port_forward_cluster_ip"] = False
            case _:
                port = there.operator.dashboard
                settings = {"scheduler_forward_port": port, "resource_timeout": 10.0}
        if not made_here:
            there.somebody_makes_one()
        with pytest.raises(error):
            await there.open(**settings)
        assert len(there.clusters) == (0 if made_here else 1)


@pytest.mark.parametrize("when", ["POST", "GET"])
async def test_one_that_is_interrupted_leaves_nothing(kubeconfig: Kubeconfig, when: str) -> None:
    """Cancel while the API server makes it, and while its scheduler starts."""
    async with world(kubeconfig) as there:
        opening: list[asyncio.Task[Session]] = []

        def interrupt(_: Any) -> None:
            if when == "POST":
                opening[0].cancel()
            else:
                asyncio.get_running_loop().call_later(0.3, opening[0].cancel)

        there.fake.made = interrupt
        opening.append(asyncio.ensure_future(there.open()))
        with pytest.raises(asyncio.CancelledError):
            await opening[0]
        assert [seen.method for seen in there.fake.writes] == ["POST", "DELETE"]
        assert not there.clusters


async def test_one_that_cannot_be_deleted_is_said_beside_the_error(
    kubeconfig: Kubeconfig, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(kubeconfig) as there:
        there.fake.made = lambda _: None
        there.fake.fail("DELETE", resources.CLUSTER, CUT)
        with pytest.raises(OperatorNotRespondingError):
            await there.open(resource_timeout=0.2)
    assert "could not delete DaskCluster mine" in caplog.text


async def test_an_api_server_that_is_away(kubeconfig: Kubeconfig) -> None:
    async with world(kubeconfig) as there:
        there.fake.fail("GET", resources.CLUSTER, 503, times=100)
        with pytest.raises(KubernetesUnreachableError):
            await there.open(resource_timeout=0.5)


async def test_without_a_certificate_nothing_is_sent_to_a_scheduler_that_speaks_tls(
    kubeconfig: Kubeconfig, tmp_path: Path
) -> None:
    manifest = make_cluster_spec("mine")
    manifest["spec"]["scheduler"]["spec"]["containers"][0]["args"] += ["--protocol", "tls"]
    async with world(kubeconfig) as there:
        with pytest.raises(ValidationError, match="the scheduler of mine uses TLS: pass security="):
            await there.open(custom_cluster_spec=manifest)
        assert not [seen for seen in there.fake.requests if seen.subresource == "portforward"]
        assert not there.clusters
        make_certificates(tmp_path)
        with dask.config.set(client_tls(tmp_path)), pytest.raises(SchedulerUnreachableError, match="tls://"):
            await there.open(custom_cluster_spec=manifest, resource_timeout=0.5)


async def test_a_client_that_requires_encryption_uses_tls_whatever_the_schedulers_command_says(
    kubeconfig: Kubeconfig, tmp_path: Path
) -> None:
    make_certificates(tmp_path)
    files = {"tls_ca_file": "ca.pem", "tls_client_cert": "cert.pem", "tls_client_key": "key.pem"}
    security = Security(**{name: str(tmp_path / file) for name, file in files.items()})
    server = Security(
        tls_ca_file=str(tmp_path / "ca.pem"),
        tls_scheduler_cert=str(tmp_path / "cert.pem"),
        tls_scheduler_key=str(tmp_path / "key.pem"),
    )
    async with world(kubeconfig) as there:
        settings = Settings.of(name="mine", resource_timeout=5.0)
        async with Scheduler(
            host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0", protocol="tls", security=server
        ) as scheduler:
            there.operator.lead_to(int(scheduler.port), there.operator.dashboard)
            session = await Session.open(settings, there.listener, security, lambda *_: None)
            assert session.address.startswith("tls://127.0.0.1:")
            await session.close()
        there.operator.lead_to(there.operator.comm, there.operator.dashboard)
        with pytest.raises(SchedulerUnreachableError, match="whether it uses TLS, which its command does not say"):
            await Session.open(replace(settings, resource_timeout=0.5), there.listener, security, lambda *_: None)


async def test_addresses_of_ipv6_are_in_brackets(kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(kubeconfig) as there:
        comm = await asyncio.start_server(_join("127.0.0.1", there.operator.comm), "::1")
        port = comm.sockets[0].getsockname()[1]

        async def address(*_: Any) -> tuple[str, int]:
            return "::1", port

        monkeypatch.setattr(Connection, "address", address)
        session = await there.open()
        assert (session.address, session.dashboard) == (f"tcp://[::1]:{port}", ("[::1]", port))
        assert format_dashboard_link(*session.dashboard) == f"http://[::1]:{port}/status"
        await session.close()
        comm.close()


def _join(host: str, port: int) -> Any:
    """Return a server's callback that leads each connection to another address."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, port)
        await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

    return join


async def test_a_protocol_that_dask_does_not_speak_here_is_an_error_at_once(kubeconfig: Kubeconfig) -> None:
    manifest = make_cluster_spec("mine")
    manifest["spec"]["scheduler"]["spec"]["containers"][0]["args"] += ["--protocol", "carrier"]
    async with world(kubeconfig) as there:
        with pytest.raises(ValidationError, match="speaks carrier, and Dask cannot speak it here: unknown address"):
            await there.open(custom_cluster_spec=manifest)


async def test_ports_of_other_names_are_found_by_where_they_lead(kubeconfig: Kubeconfig) -> None:
    manifest = make_cluster_spec("mine")
    for port, name in zip(manifest["spec"]["scheduler"]["service"]["ports"], ("dask", "web"), strict=True):
        port["name"] = name
    async with world(kubeconfig) as there:
        session = await there.open(custom_cluster_spec=manifest)
        assert session.address.startswith("tcp://")
        await session.close()


async def test_a_session_does_not_keep_its_owner(kubeconfig: Kubeconfig) -> None:
    async with world(kubeconfig) as there:
        session = await there.open()
        owner = weakref.ref(there.listener)
        there.listener = Listener()
        gc.collect()
        assert owner() is None
        await session.close()


async def refused(address: tuple[str, int]) -> None:
    """Wait until nobody listens there any more."""
    while True:
        try:
            _, writer = await asyncio.open_connection(*address)
        except OSError:
            return
        writer.close()


def test_it_is_stopped_from_any_thread_and_after_its_event_loop(kubeconfig: Kubeconfig) -> None:
    async def scenario() -> Any:
        async with world(kubeconfig) as there:
            session = await there.open()
            stop = session.threadsafe_close()
            await asyncio.to_thread(stop)
            await refused(session.dashboard)
            await session.close()
            return stop

    asyncio.run(asyncio.wait_for(scenario(), 30.0))()
