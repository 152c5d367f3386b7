"""HTTP servers of Dask that listen at addresses of IPv6 too.

For `--dashboard-address :8787`, its default, Dask listens at 0.0.0.0: probes, Prometheus and the controller cannot
reach it in a Pod with addresses of IPv6 only. It takes names but no addresses of IPv6, so the Pod gets a name for "::".
"""

from __future__ import annotations

import re
from typing import Any

from dask_operator.model import Json

HOST = "any-ipv6"
_OPTION = "--dashboard-address"
_EVERYWHERE = re.compile(r":?(\d+)")
_PROGRAMS = ("dask-scheduler", "distributed.cli.dask_scheduler")
_PORT = 8787


def listening_on_ipv6(spec: Json) -> dict[str, Any]:
    """Return a Pod spec whose Dask listens for HTTP at all addresses, where it would at all of IPv4.

    The words of a script stay as they are.
    """
    containers, aliases = spec.get("containers"), spec.get("hostAliases") or []
    if not isinstance(containers, list) or not isinstance(aliases, list):
        return dict(spec)  # the API server refuses it and says why
    alias = {"ip": "::", "hostnames": [HOST]}
    return {**spec, "containers": list(map(_container, containers)), "hostAliases": [*aliases, alias]}


def _container(container: Any) -> Any:
    if not isinstance(container, dict):
        return container
    parts = {key: words for key in ("command", "args") if isinstance(words := container.get(key), list)}
    told = any(str(word).partition("=")[0] == _OPTION for words in parts.values() for word in words)
    # The option may be the last word of the command, and its value the first argument.
    before = ""
    for key, words in parts.items():
        parts[key] = _everywhere(words, before) if told else _with_option(words, before)
        before = words[-1] if words else before
    return {**container, **parts}


def _everywhere(words: list[Any], before: Any) -> list[Any]:
    """Return the words with another value of the option if it stands for all addresses of IPv4."""
    said: list[Any] = []
    for word in words:
        option, equals, value = str(word).partition("=")
        if before == _OPTION:
            said.append(_addresses(word))
        elif equals and option == _OPTION:
            said.append(f"{_OPTION}={_addresses(value)}")
        else:
            said.append(word)
        before = word
    return said


def _with_option(words: list[Any], before: Any) -> list[Any]:
    """Return the words with the option behind those that start a scheduler. No other word has to be known."""
    for place, word in enumerate(words):
        program = str(word).rpartition("/")[2]
        if program in _PROGRAMS or (program == "scheduler" and str(before).rpartition("/")[2] == "dask"):
            return [*words[: place + 1], _OPTION, _addresses(f":{_PORT}"), *words[place + 1 :]]
        before = word
    return words


def _addresses(value: Any) -> Any:
    found = _EVERYWHERE.fullmatch(value) if isinstance(value, str) else None
    return f":{found[1]},{HOST}:{found[1]}" if found else value
