"""The protocol and the ports of a scheduler, from its cluster. The operator decides them likewise for workers.

Functions never raise: unreadable values count as absent.
"""

from __future__ import annotations

import re
from itertools import chain, pairwise

from dask_kubernetes.operator.diagnosis import facts
from dask_kubernetes.operator.diagnosis.facts import Json
from dask_kubernetes.operator.manifests.names import COMM_PORT, DASHBOARD_PORT

ENCRYPTED = ("tls", "wss")
_COMM, _DASHBOARD = 8786, 8787
_LONGEST_VALUE = 64
_PROGRAMS = ("scheduler", "dask-scheduler", "distributed.cli.dask_scheduler")
_REFERENCE = re.compile(r"\$\(([\w.-]+)\)")
_TLS_OPTIONS = ("--tls-ca-file", "--tls-cert", "--tls-key")
_SCHEMES = ("distributed.comm.default-scheme", "default-scheme")
_ENCRYPTION = "distributed.comm.require-encryption"
_FALSE = ("", "0", "false", "none", "null")
# As Kubernetes names them, and as Dask does.
_APP_PROTOCOLS = {name: name for name in ("tcp", "tls", "ws", "wss", "ucx")} | {
    "kubernetes.io/ws": "ws",
    "kubernetes.io/wss": "wss",
}


def protocol(cluster: Json) -> str:
    """Return the protocol of the scheduler's Dask address."""
    container = _scheduler(cluster)
    words = _words(container)
    port = _leading(_ports(_service(cluster)), COMM_PORT, cluster) or {}
    said = _protocol(_options(words), _settings(container, words))
    return said or _APP_PROTOCOLS.get(facts.text(port.get("appProtocol")), "") or "tcp"


def with_known_names(service: Json, cluster: Json) -> Json:
    """Return a Service whose ports have our names if they lead to the scheduler's ports.

    The name of a headless Service leads to the Pod, so its ports get the Pod's numbers.
    """
    spec = facts.mapping(service.get("spec"))
    ports = _ports(spec)
    known = [
        {
            **port,
            "name": name,
            "port": _number(port, name, cluster) if spec.get("clusterIP") == "None" else port["port"],
        }
        for name in (COMM_PORT, DASHBOARD_PORT)
        if (port := _leading(ports, name, cluster))
    ]
    return {**service, "spec": {**spec, "ports": [*known, *ports]}}


def _leading(ports: list[Json], name: str, cluster: Json) -> Json | None:
    """Return the port that leads to one of the scheduler's: by its name, its target, or its number."""
    number, named = _listens(cluster, name), _named(cluster)
    rules = (
        [port for port in ports if port.get("name") == name],
        [port for port in ports if _target(port) == name or named.get(str(_target(port)), _target(port)) == number],
        [port for port in ports if port["port"] == number],
    )
    return next((found[0] for found in rules if found), None)


def _number(port: Json, name: str, cluster: Json) -> int:
    """Return the number of the Pod's port to which a Service's port leads."""
    target = _target(port)
    return target if isinstance(target, int) else _named(cluster).get(target, _listens(cluster, name))


def _listens(cluster: Json, name: str) -> int:
    """Return the number of the scheduler's port that has one of our names."""
    options, named = _options(_words(_scheduler(cluster))), _named(cluster)
    if name == DASHBOARD_PORT:
        return _port(options.get("--dashboard-address", "")) or named.get(name) or _DASHBOARD
    given = _port(options.get("--port", "")) or _port(options.get("--host", ""))
    return given or named.get(name) or _COMM


def _target(port: Json) -> int | str:
    target = port.get("targetPort")
    return facts.integer(target) or facts.text(target) or int(port["port"])


def _ports(service_spec: Json) -> list[Json]:
    ports = (port for port in facts.mappings(service_spec.get("ports")) if port.get("protocol") in (None, "TCP"))
    return [port for port in ports if facts.integer(port.get("port"))]


def _service(cluster: Json) -> Json:
    return facts.mapping(facts.mapping(facts.mapping(cluster.get("spec")).get("scheduler")).get("service"))


def _containers(cluster: Json) -> list[Json]:
    scheduler = facts.mapping(facts.mapping(cluster.get("spec")).get("scheduler"))
    return facts.mappings(facts.mapping(scheduler.get("spec")).get("containers"))


def _scheduler(cluster: Json) -> Json:
    """Return the container that runs the scheduler: the first one whose words say so, else the first."""
    containers = _containers(cluster)
    known = (each for each in containers if any(word.rpartition("/")[2] in _PROGRAMS for word in _words(each)))
    return next(known, containers[0] if containers else {})


def _named(cluster: Json) -> dict[str, int]:
    ports = chain.from_iterable(facts.mappings(container.get("ports")) for container in _containers(cluster))
    named = ((facts.text(port.get("name")), facts.integer(port.get("containerPort"))) for port in ports)
    return {name: number for name, number in named if name and number}


def _words(container: Json) -> list[str]:
    """Return the words of a command and its arguments. Those of a script count, and an option and its value are two."""
    known = {name: value for name, value in _variables(container).items() if len(value) <= _LONGEST_VALUE}
    line = _REFERENCE.sub(
        lambda match: known.get(match[1], match[0]), " ".join(word or "''" for word in facts.words(container))
    )
    return [word.strip("'\"") for word in line.replace("=", " ").split()]


def _options(words: list[str]) -> dict[str, str]:
    return {name: value for name, value in pairwise(words) if name.startswith("--")}


def _variables(container: Json) -> dict[str, str]:
    variables = facts.mappings(container.get("env"))
    return {facts.text(each.get("name")): facts.text(each.get("value")) for each in variables}


def _settings(container: Json, words: list[str]) -> dict[str, str]:
    """Return Dask's configuration by environment variables, those that a script sets included."""
    variables = chain(_variables(container).items(), pairwise(words))
    return {
        name[5:].lower().replace("__", ".").replace("_", "-"): value.strip("'\"")
        for name, value in variables
        if name.startswith("DASK_")
    }


def _protocol(options: dict[str, str], settings: dict[str, str]) -> str:
    """Return the first protocol that a scheduler speaks, empty if neither options nor variables say it."""
    if "--protocol" in options:
        return _scheme(options["--protocol"].split(",")[0])
    if settings.get(_ENCRYPTION, "").lower() not in _FALSE or any(option in options for option in _TLS_OPTIONS):
        return "tls"
    host = options.get("--host", "")
    default = next((settings[key] for key in _SCHEMES if key in settings), "")
    return _scheme(host if "://" in host else default)


def _scheme(value: str) -> str:
    scheme = value.partition("://")[0]
    return scheme if re.fullmatch("[a-z]+", scheme) else ""


def _port(value: str) -> int:
    """Return the port of an address, or of the first of several; 0 if it has none."""
    number = value.partition(",")[0].rpartition(":")[2]
    return int(number) if re.fullmatch(r"[0-9]{1,5}", number) and int(number) < 2**16 else 0
