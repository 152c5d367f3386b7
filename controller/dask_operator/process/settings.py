"""Settings from the environment, whose variables are named as Dask's configuration names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from dask_operator.kubernetes.leadership import LeaseName, Times
from dask_operator.plan import Policy

_T = TypeVar("_T")

BATCH_SIZE = "DASK_KUBERNETES__CONTROLLER__WORKER_ALLOCATION__BATCH_SIZE"
BATCH_DELAY = "DASK_KUBERNETES__CONTROLLER__WORKER_ALLOCATION__DELAY"
LEASE_NAME = "DASK_KUBERNETES__CONTROLLER__LEASE__NAME"
LEASE_NAMESPACE = "DASK_KUBERNETES__CONTROLLER__LEASE__NAMESPACE"
LEASE_DURATION = "DASK_KUBERNETES__CONTROLLER__LEASE__DURATION"
LEASE_RENEW_DEADLINE = "DASK_KUBERNETES__CONTROLLER__LEASE__RENEW_DEADLINE"
LEASE_RETRY_PERIOD = "DASK_KUBERNETES__CONTROLLER__LEASE__RETRY_PERIOD"
WATCH_NODES = "DASK_KUBERNETES__CONTROLLER__WATCH_NODES"
KUEUE = "DASK_KUBERNETES__CONTROLLER__KUEUE"
POD_NAMESPACE = "DASK_KUBERNETES__CONTROLLER__POD__NAMESPACE"
POD_NAME = "DASK_KUBERNETES__CONTROLLER__POD__NAME"
API_SERVER = "KUBERNETES_SERVICE_HOST"
"""The address of the API server's Service, which Kubernetes sets: its family is that of all Services by default."""
POD_UID = "DASK_KUBERNETES__CONTROLLER__POD__UID"


class PodReference(NamedTuple):
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The policy of plans, and the place of this process.

    `lease` is the Lease by which several controllers elect a leader, or None for a single controller. `pod` is the Pod
    of this process, or None outside of Kubernetes. `times` are those of the election. With `watch_nodes`, workers leave
    nodes that are cordoned or tainted. With `kueue`, clusters and jobs may wait in queues of Kueue.
    """

    policy: Policy = Policy()
    lease: LeaseName | None = None
    pod: PodReference | None = None
    times: Times = Times()
    watch_nodes: bool = False
    kueue: bool = False


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Return the settings; empty values, "null" and "None" mean unset. Raises ValueError with a variable's name."""
    default = Policy()
    return Settings(
        Policy(
            batch_size=_value(environment, BATCH_SIZE, _positive, default.batch_size),
            batch_delay=_value(environment, BATCH_DELAY, _seconds, default.batch_delay),
            ipv6=":" in environment.get(API_SERVER, ""),
        ),
        _lease(environment),
        _pod(environment),
        _times(environment),
        _value(environment, WATCH_NODES, _boolean, False),
        _value(environment, KUEUE, _boolean, False),
    )


def _lease(environment: Mapping[str, str]) -> LeaseName | None:
    name, namespace = (_value(environment, variable, str, "") for variable in (LEASE_NAME, LEASE_NAMESPACE))
    if bool(name) != bool(namespace):
        raise ValueError(f"{LEASE_NAME} and {LEASE_NAMESPACE} name one lease: set both or neither")
    return LeaseName(namespace, name) if name else None


def _times(environment: Mapping[str, str]) -> Times:
    default = Times()
    duration = _value(environment, LEASE_DURATION, _positive, default.duration)
    deadline = _value(environment, LEASE_RENEW_DEADLINE, _seconds, default.deadline)
    retry = _value(environment, LEASE_RETRY_PERIOD, _seconds, default.retry)
    try:
        return Times(duration, deadline, retry)
    except ValueError as error:
        raise ValueError(f"{LEASE_DURATION}, {LEASE_RENEW_DEADLINE} and {LEASE_RETRY_PERIOD}: {error}") from None


def _pod(environment: Mapping[str, str]) -> PodReference | None:
    values = [_value(environment, variable, str, "") for variable in (POD_NAMESPACE, POD_NAME, POD_UID)]
    if any(values) and not all(values):
        raise ValueError(f"{POD_NAMESPACE}, {POD_NAME} and {POD_UID} are one Pod: set all or none")
    return PodReference(*values) if all(values) else None


def _value(environment: Mapping[str, str], name: str, parse: Callable[[str], _T], default: _T) -> _T:
    text = environment.get(name, "").strip()
    if text in ("", "null", "None"):
        return default
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{name}={text}: {error}") from None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("must be a whole number of at least 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError("must be a number of seconds of at least 0")
    return value
