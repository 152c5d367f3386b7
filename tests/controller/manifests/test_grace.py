from __future__ import annotations

from typing import Any

import pytest
from tests.support.builders import WORKER_SPEC, a_cluster, a_group

from dask_operator import manifests, names

HOOK = {"preStop": {"exec": {"command": ["leave"]}}}


def _times(spec: dict[str, Any], **group: Any) -> tuple[Any, str]:
    """Return a worker's grace period, and how much of it the worker drains."""
    (pod,) = manifests.worker_manifests(a_cluster(), a_group(worker_spec=spec, **group), [0], attempt=0)
    env = {variable["name"]: variable["value"] for variable in pod["spec"]["containers"][0]["env"]}
    return pod["spec"].get("terminationGracePeriodSeconds"), env[names.DRAIN_SECONDS_ENV]


def _set(timeout: float) -> dict[str, Any]:
    return {"drain_timeout": timeout, "drain_timeout_unset": False}


@pytest.mark.parametrize(("grace", "seconds"), [(None, "20"), (300, "290"), (5, "0"), ("typo", "20")])
def test_a_worker_drains_within_its_grace_period(grace: Any, seconds: str) -> None:
    spec = WORKER_SPEC | ({} if grace is None else {"terminationGracePeriodSeconds": grace})
    assert _times(spec) == (grace, seconds)


@pytest.mark.parametrize(("timeout", "grace"), [(0.0, 10), (60.0, 70), (3600.0, 3610)])
def test_a_worker_with_a_drain_timeout_has_that_time_and_ten_seconds_to_close(timeout: float, grace: int) -> None:
    found, seconds = _times(WORKER_SPEC, **_set(timeout))
    assert (found, type(found), seconds) == (grace, int, str(int(timeout)))


@pytest.mark.parametrize("grace", [0, 45, "typo"])
def test_a_users_own_grace_period_stays(grace: Any) -> None:
    spec = WORKER_SPEC | {"terminationGracePeriodSeconds": grace}
    assert _times(spec, **_set(600.0)) == _times(spec)


def test_a_grace_period_that_is_null_is_none() -> None:
    assert _times(WORKER_SPEC | {"terminationGracePeriodSeconds": None}, **_set(600.0)) == (610, "600")


def test_a_worker_with_a_hook_has_no_other_grace_period() -> None:
    (worker,) = WORKER_SPEC["containers"]
    assert _times({"containers": [worker | {"lifecycle": HOOK}]}, **_set(600.0)) == (None, "20")


@pytest.mark.parametrize("lifecycle", [None, {}, {"preStop": None}, {"postStart": {}}, "typo"])
def test_what_is_no_hook_changes_nothing(lifecycle: Any) -> None:
    (worker,) = WORKER_SPEC["containers"]
    assert _times({"containers": [worker | {"lifecycle": lifecycle}]}, **_set(600.0)) == (610, "600")


def test_the_hook_of_a_sidecar_changes_nothing() -> None:
    (worker,) = WORKER_SPEC["containers"]
    sidecar = {"name": "sidecar", "image": "proxy", "lifecycle": HOOK}
    assert _times({"containers": [worker, sidecar]}, **_set(600.0)) == (610, "600")


@pytest.mark.parametrize("containers", [None, [], "typo", ["typo"]])
def test_containers_that_are_none_are_left_to_the_api_server(containers: Any) -> None:
    group = a_group(worker_spec={"containers": containers}, **_set(600.0))
    (pod,) = manifests.worker_manifests(a_cluster(), group, [0], attempt=0)
    assert pod["spec"]["containers"] == containers
    assert pod["spec"]["terminationGracePeriodSeconds"] == 610
