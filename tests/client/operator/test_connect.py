"""A scheduler is reached at its own address where that answers, and through the API server elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.client.operator.conftest import Kubeconfig, connected
from tests.client.operator.served import PORTS, SCHEDULER, a_pod, a_service
from tests.support.fake_api import FakeApi
from tests.support.server import free_port

from dask_kubernetes.exceptions import SchedulerUnreachableError, ValidationError
from dask_kubernetes.operator.connect import Connection, addresses, node_addresses
from dask_kubernetes.operator.forward import HOST
from dask_kubernetes.operator.kubernetes import Kubernetes
from dask_kubernetes.operator.names import COMM_PORT, DASHBOARD_PORT

OWN = ("mine-scheduler.default", 8786)


def with_node_port(number: int | None) -> dict[str, Any]:
    service = a_service("NodePort")
    if number:
        service["spec"]["ports"][0]["nodePort"] = number
    return service


def with_load_balancer(port: int = 8786, **point: str) -> dict[str, Any]:
    service = a_service("LoadBalancer", loadBalancer={"ingress": [point]} if point else {})
    service["spec"]["ports"][0]["port"] = port
    return service


@pytest.mark.parametrize(
    ("service", "nodes", "expected"),
    [
        (a_service(), ["10.0.0.1"], [OWN]),
        (a_service("LoadBalancer"), [], [OWN]),
        (a_service("LoadBalancer", loadBalancer={"ingress": None}), [], [OWN]),
        (with_load_balancer(ip="1.2.3.4"), [], [("1.2.3.4", 8786), OWN]),
        (with_load_balancer(hostname="lb.example.com", ip="1.2.3.4"), [], [("lb.example.com", 8786), OWN]),
        (with_node_port(30001), ["10.0.0.1", "10.0.0.2"], [("10.0.0.1", 30001), ("10.0.0.2", 30001), OWN]),
        (with_node_port(30001), [], [OWN]),
        (with_node_port(None), ["10.0.0.1"], [OWN]),
    ],
)
def test_where_a_port_may_answer(service: dict[str, Any], nodes: list[str], expected: list[tuple[str, int]]) -> None:
    assert list(addresses(service, COMM_PORT, nodes)) == expected


def test_a_port_may_have_the_name_of_its_service() -> None:
    service = a_service()
    service["spec"]["ports"] = [{"name": "mine-scheduler", "port": 1}]
    assert list(addresses(service, COMM_PORT, [])) == [("mine-scheduler.default", 1)]


@pytest.mark.parametrize("ports", [[], None, [{"port": 8786}]])
def test_a_service_without_the_port(ports: Any) -> None:
    service = a_service()
    service["spec"]["ports"] = ports
    with pytest.raises(SchedulerUnreachableError, match="Service mine-scheduler has no port named tcp-comm: give it"):
        list(addresses(service, COMM_PORT, []))


def test_addresses_of_nodes() -> None:
    def node(*known: tuple[str, str]) -> dict[str, Any]:
        return {"status": {"addresses": [{"type": type_, "address": address} for type_, address in known]}}

    first = node(("InternalIP", "10.0.0.1"), ("Hostname", "a"), ("ExternalIP", "1.1.1.1"))
    nodes = [first, node(("InternalIP", "10.0.0.2")), {}, {"status": {"addresses": None}}]
    assert node_addresses(nodes) == ["1.1.1.1", "10.0.0.1", "10.0.0.2"]


def connection(kubernetes: Kubernetes, forward: bool | None = None) -> Connection:
    return Connection(kubernetes, "default", SCHEDULER, forward)


async def hear(address: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    said = await reader.read()
    writer.close()
    return said


async def a_scheduler(fake: FakeApi) -> tuple[asyncio.Server, int]:
    """A Pod that says hello at its ports, and the port of this machine where it does."""

    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(hello, HOST)
    number = int(server.sockets[0].getsockname()[1])
    fake.put(a_pod("mine-scheduler-0"))
    fake.ports |= {("mine-scheduler-0", port): number for port in PORTS.values()}
    return server, number


def test_what_answers_is_taken(kubeconfig: Kubeconfig) -> None:
    async def scenario() -> None:
        async with connected(kubeconfig) as (fake, kubernetes):
            server, port = await a_scheduler(fake)
            node = {"status": {"addresses": [{"type": "InternalIP", "address": HOST}]}}
            fake.put({"kind": "Node", "metadata": {"name": "n"}, **node})
            for service in (with_node_port(port), with_load_balancer(port, ip=HOST)):
                for forward in (None, False):
                    assert await connection(kubernetes, forward).address(service, COMM_PORT) == (HOST, port)
            assert not fake.asked("GET", "pods"), "and nothing is forwarded"
            server.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("forward", [None, True])
def test_where_nothing_answers_it_is_forwarded(kubeconfig: Kubeconfig, forward: bool | None) -> None:
    async def scenario() -> None:
        async with connected(kubeconfig) as (fake, kubernetes):
            server, _ = await a_scheduler(fake)
            through, wanted = connection(kubernetes, forward), free_port()
            comm = await through.address(a_service(), COMM_PORT)
            dashboard = await through.address(a_service(), DASHBOARD_PORT, wanted)
            assert dashboard == (HOST, wanted)
            assert [await hear(comm), await hear(dashboard)] == [b"hello", b"hello"]
            with pytest.raises(ValidationError, match=str(wanted)):
                await through.address(a_service(), DASHBOARD_PORT, wanted)
            await through.close()
            for address in (comm, dashboard):
                with pytest.raises(OSError):
                    await hear(address)
            server.close()

    asyncio.run(scenario())


def test_forwarding_comes_before_what_answers_where_it_is_asked_for(kubeconfig: Kubeconfig) -> None:
    async def scenario() -> None:
        async with connected(kubeconfig) as (fake, kubernetes):
            server, port = await a_scheduler(fake)
            through = connection(kubernetes, forward=True)
            assert (await through.address(with_load_balancer(port, ip=HOST), COMM_PORT))[1] != port
            await through.close()
            server.close()

    asyncio.run(scenario())


def test_without_permission_to_list_nodes_a_node_port_is_forwarded(kubeconfig: Kubeconfig) -> None:
    async def scenario() -> None:
        async with connected(kubeconfig) as (fake, kubernetes):
            fake.refuses = lambda seen: seen.plural == "nodes"
            server, port = await a_scheduler(fake)
            through = connection(kubernetes)
            assert await hear(await through.address(with_node_port(port), COMM_PORT)) == b"hello"
            await through.close()
            server.close()

    asyncio.run(scenario())


def test_without_forwarding_what_was_tried_is_said(kubeconfig: Kubeconfig) -> None:
    closed = free_port()

    async def scenario() -> None:
        async with connected(kubeconfig) as (_, kubernetes):
            with pytest.raises(SchedulerUnreachableError, match="leave out port_forward_cluster_ip=False") as raised:
                await connection(kubernetes, forward=False).address(with_load_balancer(closed, ip=HOST), COMM_PORT)
            assert f"none of {HOST}:{closed}, mine-scheduler.default:{closed}:" in str(raised.value)

    asyncio.run(scenario())


def test_in_a_pod_a_service_has_a_moment_to_answer(kubeconfig: Kubeconfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    port = free_port()

    async def scenario() -> None:
        async with connected(kubeconfig) as (_, kubernetes):
            found = asyncio.ensure_future(
                connection(kubernetes, forward=False).address(with_load_balancer(port, ip=HOST), COMM_PORT)
            )
            await asyncio.wait([found], timeout=0.2)
            assert not found.done()
            async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, port):
                assert await found == (HOST, port)

    asyncio.run(scenario())
