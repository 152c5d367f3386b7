"""The client connects to a scheduler's own address if it answers, and else through the API server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from tests.client.operator.conftest import Kubeconfig, connected
from tests.client.operator.served import PORTS, SCHEDULER, a_pod, a_service
from tests.support.fake_api import FakeApi
from tests.support.server import free_port

from dask_kubernetes.exceptions import SchedulerUnreachableError, ValidationError
from dask_kubernetes.operator.access.connect import Connection, addresses, node_addresses
from dask_kubernetes.operator.access.credentials import in_url
from dask_kubernetes.operator.access.forward import HOST
from dask_kubernetes.operator.access.kubernetes import Kubernetes
from dask_kubernetes.operator.manifests.names import COMM_PORT, DASHBOARD_PORT

pytestmark = pytest.mark.real_time

OWN = ("mine-scheduler.default.svc", 8786)


def with_node_port(number: int | None) -> dict[str, Any]:
    service = a_service("NodePort")
    if number:
        service["spec"]["ports"][0]["nodePort"] = number
    return service


def with_load_balancer(port: int = 8786, **point: str) -> dict[str, Any]:
    service = a_service("LoadBalancer", loadBalancer={"ingress": [point]} if point else {})
    service["spec"]["ports"][0]["port"] = port
    return service


def headless() -> dict[str, Any]:
    service = a_service()
    service["spec"]["clusterIP"] = "None"
    return service


def external_name() -> dict[str, Any]:
    service = a_service("ExternalName")
    service["spec"] |= {"externalName": "elsewhere.example.com", "clusterIP": ""}
    return service


@pytest.mark.parametrize(
    ("service", "nodes", "expected"),
    [
        (a_service(), ["10.0.0.1"], []),
        (headless(), ["10.0.0.1"], []),
        (a_service("LoadBalancer"), [], []),
        (a_service("LoadBalancer", loadBalancer={"ingress": None}), [], []),
        (with_load_balancer(ip="1.2.3.4"), [], [("1.2.3.4", 8786)]),
        (with_load_balancer(ip="2001:db8::7"), [], [("2001:db8::7", 8786)]),
        (with_node_port(30001), ["2001:db8::1"], [("2001:db8::1", 30001)]),
        (with_load_balancer(hostname="lb.example.com", ip="1.2.3.4"), [], [("lb.example.com", 8786)]),
        (with_node_port(30001), ["10.0.0.1", "10.0.0.2"], [("10.0.0.1", 30001), ("10.0.0.2", 30001)]),
        (with_node_port(30001), [], []),
        (with_node_port(None), ["10.0.0.1"], []),
    ],
)
def test_where_a_port_may_answer(service: dict[str, Any], nodes: list[str], expected: list[tuple[str, int]]) -> None:
    assert list(addresses(service, COMM_PORT, nodes, inside=False)) == expected
    assert list(addresses(service, COMM_PORT, nodes, inside=True)) == [*expected, OWN]


def test_an_external_name_is_followed_nowhere() -> None:
    for inside in (True, False):
        assert list(addresses(external_name(), COMM_PORT, ["10.0.0.1"], inside=inside)) == []


def test_a_port_may_have_the_name_of_its_service() -> None:
    service = a_service()
    service["spec"]["ports"] = [{"name": "mine-scheduler", "port": 1}]
    assert list(addresses(service, COMM_PORT, [], inside=True)) == [("mine-scheduler.default.svc", 1)]


@pytest.mark.parametrize("ports", [[], None, [{"port": 8786}]])
def test_a_service_without_the_port(ports: Any) -> None:
    service = a_service()
    service["spec"]["ports"] = ports
    with pytest.raises(SchedulerUnreachableError, match="Service mine-scheduler has no port named tcp-comm: add it"):
        list(addresses(service, COMM_PORT, [], inside=True))


def test_only_addresses_of_ipv6_have_brackets_in_urls() -> None:
    hosts = ("10.0.0.1", "lb.example.com", "2001:db8::7", "::1")
    assert list(map(in_url, hosts)) == ["10.0.0.1", "lb.example.com", "[2001:db8::7]", "[::1]"]


def test_addresses_of_nodes() -> None:
    def node(*known: tuple[str, str]) -> dict[str, Any]:
        return {"status": {"addresses": [{"type": type_, "address": address} for type_, address in known]}}

    first = node(("InternalIP", "10.0.0.1"), ("Hostname", "a"), ("ExternalIP", "1.1.1.1"))
    nodes = [first, node(("InternalIP", "10.0.0.2")), {}, {"status": {"addresses": None}}]
    assert node_addresses(nodes, internal=True) == ["1.1.1.1", "10.0.0.1", "10.0.0.2"]
    assert node_addresses(nodes, internal=False) == ["1.1.1.1"]


def connection(kubernetes: Kubernetes, forward: bool | None = None, namespace: str = "default") -> Connection:
    return Connection(kubernetes, namespace, SCHEDULER, forward)


def within(namespace: str, about: dict[str, Any]) -> dict[str, Any]:
    return about | {"metadata": about["metadata"] | {"namespace": namespace}}


def nodes_are_at(fake: FakeApi, type_: str, address: str) -> None:
    addresses_of_one = [{"type": type_, "address": address}]
    fake.put({"kind": "Node", "metadata": {"name": "n"}, "status": {"addresses": addresses_of_one}})


@dataclass
class Network:
    """Connections beyond this machine, and the addresses that answer."""

    answers: set[str] = field(default_factory=set)
    tried: list[tuple[str, int]] = field(default_factory=list)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network in which only the addresses that a test names answer. Names do not resolve by themselves."""
    network, known = Network(), asyncio.open_connection

    async def open_connection(host: str, port: int) -> Any:
        if host == HOST:
            return await known(host, port)
        network.tried.append((host, port))
        if host in network.answers:
            return None, SimpleNamespace(close=bool)
        raise ConnectionRefusedError(host)

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    return network


async def hear(address: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    said = await reader.read()
    writer.close()
    return said


async def a_scheduler(fake: FakeApi, namespace: str = "default") -> tuple[asyncio.Server, int]:
    """Run a Pod that says hello at its ports; return the server and its port on this machine."""

    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(hello, HOST)
    number = int(server.sockets[0].getsockname()[1])
    fake.put(within(namespace, a_pod("mine-scheduler-0")))
    fake.ports |= {("mine-scheduler-0", port): number for port in PORTS.values()}
    return server, number


async def test_what_answers_is_taken(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        server, port = await a_scheduler(fake)
        nodes_are_at(fake, "ExternalIP", HOST)
        for service in (with_node_port(port), with_load_balancer(port, ip=HOST)):
            for forward in (None, False):
                assert await connection(kubernetes, forward).address(service, COMM_PORT) == (HOST, port)
        assert not fake.asked("GET", "pods"), "and nothing is forwarded"
        server.close()


SERVICES: dict[str, Callable[[], dict[str, Any]]] = {
    "ClusterIP": a_service,
    "headless": headless,
    "ExternalName": external_name,
    "NodePort": lambda: with_node_port(30001),
    "LoadBalancer without an address": lambda: a_service("LoadBalancer"),
    "LoadBalancer": lambda: with_load_balancer(hostname="lb.example.com"),
}
TOLD = {"NodePort": [("192.0.2.1", 30001)], "LoadBalancer": [("lb.example.com", 8786)]}
"""The API server's addresses of a Service for clients outside."""
PLACES = {
    "no Pod": {},
    "a Pod of another Kubernetes": {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("namespace", ["dev", "app", "science"])
@pytest.mark.parametrize("kind", SERVICES)
def test_outside_of_its_kubernetes_no_name_of_a_service_is_tried(
    kubeconfig: Kubeconfig,
    monkeypatch: pytest.MonkeyPatch,
    network: Network,
    looked_up: list[str],
    kind: str,
    namespace: str,
    place: str,
) -> None:
    """Check `mine-scheduler.dev`, which may be anybody's in public DNS, or another Kubernetes' for a Pod there."""
    for name, value in PLACES[place].items():
        monkeypatch.setenv(name, value)

    async def scenario() -> None:
        async with connected(kubeconfig) as (fake, kubernetes):
            nodes_are_at(fake, "ExternalIP", "192.0.2.1")
            server, _ = await a_scheduler(fake, namespace)
            through = connection(kubernetes, namespace=namespace)
            address = await through.address(within(namespace, SERVICES[kind]()), COMM_PORT)
            assert address[0] == HOST
            assert await hear(address) == b"hello", "through the API server"
            await through.close()
            server.close()

    asyncio.run(asyncio.wait_for(scenario(), 10.0))
    assert network.tried == TOLD.get(kind, [])
    assert looked_up == []


@pytest.mark.parametrize("namespace", ["dev", "app", "science"])
@pytest.mark.parametrize("kind", ["ClusterIP", "headless"])
async def test_in_a_pod_of_its_kubernetes_a_service_is_tried_by_a_name_that_public_dns_has_not(
    kubeconfig: Kubeconfig, network: Network, kind: str, namespace: str
) -> None:
    host = f"mine-scheduler.{namespace}.svc"
    network.answers = {host}
    async with connected(kubeconfig, inside=True) as (fake, kubernetes):
        through = connection(kubernetes, namespace=namespace)
        service = within(namespace, SERVICES[kind]())
        assert await through.address(service, COMM_PORT) == (host, 8786)
        assert await through.address(service, DASHBOARD_PORT) == (host, 8787)
        assert not fake.asked("GET"), "and nothing is asked for that"
    assert network.tried == [(host, 8786), (host, 8787)]


def test_an_external_name_is_forwarded_also_in_a_pod(kubeconfig: Kubeconfig, network: Network) -> None:
    async def scenario() -> None:
        async with connected(kubeconfig, inside=True) as (fake, kubernetes):
            server, _ = await a_scheduler(fake)
            through = connection(kubernetes)
            assert await hear(await through.address(external_name(), COMM_PORT)) == b"hello"
            await through.close()
            server.close()

    asyncio.run(asyncio.wait_for(scenario(), 10.0))
    assert network.tried == []


@pytest.mark.parametrize(
    ("inside", "forward", "tried"), [(True, None, True), (False, None, False), (False, False, True)]
)
async def test_a_nodes_address_for_the_inside_may_be_another_machines_outside(
    kubeconfig: Kubeconfig, network: Network, inside: bool, forward: bool | None, tried: bool
) -> None:
    """Try it only if the user wants no forwarding."""
    network.answers = {"10.0.0.1"}
    async with connected(kubeconfig, inside=inside) as (fake, kubernetes):
        nodes_are_at(fake, "InternalIP", "10.0.0.1")
        through = connection(kubernetes, forward)
        host, _ = await through.address(with_node_port(30001), COMM_PORT)
        assert host == ("10.0.0.1" if tried else HOST)
        await through.close()
    assert network.tried == ([("10.0.0.1", 30001)] if tried else [])


@pytest.mark.parametrize("forward", [None, True])
async def test_where_nothing_answers_it_is_forwarded(kubeconfig: Kubeconfig, forward: bool | None) -> None:
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


async def test_forwarding_comes_before_what_answers_where_it_is_asked_for(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        server, port = await a_scheduler(fake)
        through = connection(kubernetes, forward=True)
        assert (await through.address(with_load_balancer(port, ip=HOST), COMM_PORT))[1] != port
        await through.close()
        server.close()


async def test_without_permission_to_list_nodes_a_node_port_is_forwarded(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.refuses = lambda seen: seen.plural == "nodes"
        server, port = await a_scheduler(fake)
        through = connection(kubernetes)
        assert await hear(await through.address(with_node_port(port), COMM_PORT)) == b"hello"
        await through.close()
        server.close()


async def test_without_forwarding_what_was_tried_is_said(kubeconfig: Kubeconfig) -> None:
    closed = free_port()
    async with connected(kubeconfig) as (_, kubernetes):
        with pytest.raises(SchedulerUnreachableError, match="remove port_forward_cluster_ip=False") as raised:
            await connection(kubernetes, forward=False).address(with_load_balancer(closed, ip=HOST), COMM_PORT)
        assert f"answer at {HOST}:{closed}:" in str(raised.value)
        with pytest.raises(SchedulerUnreachableError, match="no address that can be reached from here: remove"):
            await connection(kubernetes, forward=False).address(a_service(), COMM_PORT)


async def test_what_was_tried_is_said_with_brackets(kubeconfig: Kubeconfig, network: Network) -> None:
    async with connected(kubeconfig) as (_, kubernetes):
        service = with_load_balancer(8786, ip="2001:db8::7")
        with pytest.raises(SchedulerUnreachableError, match=r"answer at \[2001:db8::7\]:8786:"):
            await connection(kubernetes, forward=False).address(service, COMM_PORT)
    assert network.tried[-1] == ("2001:db8::7", 8786)


async def test_in_a_pod_a_service_has_a_moment_to_answer(kubeconfig: Kubeconfig) -> None:
    port = free_port()
    async with connected(kubeconfig, inside=True) as (_, kubernetes):
        found = asyncio.ensure_future(
            connection(kubernetes, forward=False).address(with_load_balancer(port, ip=HOST), COMM_PORT)
        )
        await asyncio.wait([found], timeout=0.2)
        assert not found.done()
        async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, port):
            assert await found == (HOST, port)
