"""Parsers of how a scheduler listens, from its Pod's template and its Service, as `dask scheduler` decides it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain, pairwise
from typing import Any

from dask_operator import names
from dask_operator.model import Json, Listening, ServicePort
from dask_operator.parse.values import integer, mappings, number, text

_MOST_CONTAINERS = 100
_MOST_PORTS = 100
_LONGEST_VALUE = 64
_PROGRAMS = ("scheduler", "dask-scheduler", "distributed.cli.dask_scheduler")
_PROTOCOL = re.compile(r"[a-z]+")
_PREFIX = re.compile(r"[\w./~-]+", re.ASCII)
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


def listening(spec: Json) -> Listening:
    """Return how the scheduler of a Pod spec listens."""
    containers = mappings(spec.get("containers"))[:_MOST_CONTAINERS]
    default = Listening()
    if not containers:
        return default
    told = [_words(container) for container in containers]
    chosen = next((i for i, words in enumerate(told) if _runs_scheduler(words)), 0)
    options = {name: value for name, value in pairwise(told[chosen]) if name.startswith("--")}
    settings = _settings(containers[chosen], told[chosen])
    ports = chain.from_iterable(mappings(container.get("ports"))[:_MOST_PORTS] for container in containers)
    named = {text(port.get("name")): integer(port.get("containerPort")) for port in ports}
    host, dashboard = options.get("--host", ""), options.get("--dashboard-address", "")
    return Listening(
        protocol=_protocol(options, settings),
        comm=_port(options.get("--port", "")) or _port(host) or named.get(names.COMM_PORT) or default.comm,
        dashboard=_port(dashboard) or named.get(names.DASHBOARD_PORT) or default.dashboard,
        prefix=_prefix(options.get("--dashboard-prefix", "")),
        named={name: port for name, port in named.items() if name and port},
    )


def service_ports(spec: Json) -> tuple[ServicePort, ...]:
    """Return the TCP ports of a Service's spec."""
    ports = (port for port in mappings(spec.get("ports"))[:_MOST_PORTS] if port.get("protocol") in (None, "TCP"))
    return tuple(
        ServicePort(
            text(port.get("name")),
            integer(port.get("port")),
            integer(port.get("targetPort")) or text(port.get("targetPort")) or integer(port.get("port")),
            _APP_PROTOCOLS.get(text(port.get("appProtocol")), ""),
        )
        for port in ports
        if integer(port.get("port"))
    )


def _words(container: Json) -> list[str]:
    """Return the words of a command and its arguments. Those of a script count, and an option and its value are two."""
    parts = (container.get("command"), container.get("args"))
    words = (word or "''" for part in parts if isinstance(part, list) for word in part if isinstance(word, str))
    # Few letters of a template must not become many.
    known = {name: value for name, value in variables(container).items() if len(value) <= _LONGEST_VALUE}
    line = _REFERENCE.sub(lambda match: known.get(match[1], match[0]), " ".join(words))
    return [word.strip("'\"") for word in line.replace("=", " ").split()]


def variables(container: Json) -> dict[str, str]:
    """Return the environment variables of a container that its template says."""
    return {text(each.get("name")): text(each.get("value")) for each in mappings(container.get("env"))}


def _runs_scheduler(words: list[str]) -> bool:
    return any(word.rpartition("/")[2] in _PROGRAMS for word in words)


def _settings(container: Json, words: list[str]) -> dict[str, str]:
    """Return Dask's configuration by environment variables, those that a script sets included."""
    settings = chain(variables(container).items(), pairwise(words))
    return {
        name[5:].lower().replace("__", ".").replace("_", "-"): value.strip("'\"")
        for name, value in settings
        if name.startswith("DASK_")
    }


def _protocol(options: Mapping[str, str], settings: Mapping[str, Any]) -> str:
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
    return scheme if _PROTOCOL.fullmatch(scheme) else ""


def _port(value: str) -> int:
    """Return the port of an address, or of the first of several; 0 if it has none."""
    found = number(value.partition(",")[0].rpartition(":")[2]) or 0
    return found if found < 2**16 else 0


def _prefix(value: str) -> str:
    prefix = value.strip("/")
    return f"/{prefix}" if _PREFIX.fullmatch(prefix) else ""
