"""The environment that the controller gives to the containers of schedulers, workers and runners."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from dask_operator import agent, names
from dask_operator.model import Json

_PRELOAD_ARGV_ENV = f"{names.PRELOAD_ENV}_ARGV"


def with_env(spec: Json, env: Mapping[str, str]) -> dict[str, Any]:
    """Return a Pod spec whose every container has these variables after its own, which win."""
    return _with_containers(spec, lambda container: _container_with_env(container, env))


def _container_with_env(container: Any, env: Mapping[str, str]) -> Any:
    own = container.get("env") or [] if isinstance(container, dict) else None
    if not isinstance(own, list):
        return container  # the API server refuses it and says why
    taken = [variable.get("name") for variable in _mappings(own)]
    added = [{"name": name, "value": value} for name, value in env.items() if name not in taken]
    # A variable may refer to earlier ones alone, as a user's may to $(DASK_WORKER_NAME).
    referring = (place for place, variable in enumerate(own) if _refers(variable, env))
    place = next(referring, len(own))
    return {**container, "env": [*own[:place], *added, *own[place:]]}


def with_preload(spec: Json) -> dict[str, Any]:
    """Return the scheduler's Pod spec with the agent before preloads in its variables."""
    return _with_containers(spec, _container_with_preload)


def _with_containers(spec: Json, change: Callable[[Any], Any]) -> dict[str, Any]:
    containers = spec.get("containers")
    return {**spec, "containers": list(map(change, containers))} if isinstance(containers, list) else dict(spec)


def _container_with_preload(container: Any) -> Any:
    own = container.get("env") if isinstance(container, dict) else None
    # Arguments may be a list for each preload.
    if not isinstance(own, list) or any(each.get("name") == _PRELOAD_ARGV_ENV for each in _mappings(own)):
        return container
    return {**container, "env": list(map(_preloading, own))}


def _preloading(variable: Any) -> Any:
    """Return a variable, with the agent if it is that of preloads. The API server refuses one of another kind."""
    if not isinstance(variable, Mapping) or variable.get("name") != names.PRELOAD_ENV:
        return variable
    value = variable.get("value")
    if not isinstance(value, str) or agent.PRELOAD in value:
        return variable
    return {**variable, "value": repr([agent.PRELOAD, *_listed(value)])}


def _listed(value: str) -> list[str]:
    """Return preloads as Dask reads them: Python's form of a text or a list, or the text itself."""
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        read = ast.literal_eval(value)
        if isinstance(read, (list, tuple)):
            return [str(preload) for preload in read]
        if isinstance(read, str):
            return [read]
    return [value] if value else []


def _refers(variable: Any, env: Iterable[str]) -> bool:
    value = variable.get("value") if isinstance(variable, Mapping) else None
    return isinstance(value, str) and any(f"$({name})" in value for name in env)


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else iter(())
