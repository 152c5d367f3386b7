"""Parsers of schedulers' answers."""

from __future__ import annotations

from dask_operator.model import Json, Registration
from dask_operator.parse.values import integer, mapping, mappings, text


def registrations(identity: Json) -> tuple[Registration, ...]:
    """Return the workers in the reply to `/json/identity.json` (distributed.http.scheduler.json)."""
    return tuple(
        _registration(address, mapping(worker)) for address, worker in mapping(identity.get("workers")).items()
    )


def listed_workers(reply: Json) -> tuple[Registration, ...]:
    """Return the workers in the reply to `/api/v1/get_workers` (distributed.http.scheduler.api), without their data."""
    return tuple(
        Registration(str(worker.get("name", "")), text(worker.get("address")))
        for worker in mappings(reply.get("workers"))
    )


def retired(reply: Json) -> frozenset[str]:
    """Return the addresses in the reply to `/api/v1/retire_workers` (distributed.http.scheduler.api)."""
    return frozenset(str(address) for address in reply)


def _registration(address: str, worker: Json) -> Registration:
    metrics = mapping(worker.get("metrics"))
    states = mapping(metrics.get("task_counts"))
    running = ("executing", "ready", "constrained", "long-running", "flight", "fetch", "waiting")
    return Registration(
        name=str(worker.get("name", "")),
        address=str(address),
        nbytes=integer(metrics.get("managed_bytes")) + integer(mapping(metrics.get("spilled_bytes")).get("memory")),
        tasks=sum(integer(states.get(state)) for state in running),
    )
