from __future__ import annotations

import pytest

from dask_operator.kubernetes.leadership import LeaseName, Times
from dask_operator.plan import Policy
from dask_operator.process.settings import (
    BATCH_DELAY,
    BATCH_SIZE,
    KUEUE,
    LEASE_DURATION,
    LEASE_NAME,
    LEASE_NAMESPACE,
    LEASE_RENEW_DEADLINE,
    LEASE_RETRY_PERIOD,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    WATCH_NODES,
    PodReference,
    from_environment,
)

_LEASE_KEYS = ("DURATION", "RENEW_DEADLINE", "RETRY_PERIOD")


def test_an_empty_environment_gives_the_defaults() -> None:
    assert from_environment({}).policy == Policy()


def test_the_variables_of_dask_configuration_are_read() -> None:
    assert BATCH_SIZE == "DASK_KUBERNETES__CONTROLLER__WORKER_ALLOCATION__BATCH_SIZE"
    assert BATCH_DELAY == "DASK_KUBERNETES__CONTROLLER__WORKER_ALLOCATION__DELAY"
    assert from_environment({BATCH_SIZE: " 5 ", BATCH_DELAY: "2.5"}).policy == Policy(5, 2.5)
    assert from_environment({BATCH_DELAY: "0"}).policy == Policy()


@pytest.mark.parametrize(("address", "ipv6"), [("fd00::1", True), ("10.96.0.1", False), ("", False)])
def test_the_address_of_the_api_servers_service_tells_the_family_of_addresses(address: str, ipv6: bool) -> None:
    assert from_environment({"KUBERNETES_SERVICE_HOST": address}).policy == Policy(ipv6=ipv6)


@pytest.mark.parametrize("unset", ["", " ", "null", "None"])
def test_what_dask_takes_for_unset_is_unset(unset: str) -> None:
    assert from_environment({BATCH_SIZE: unset, BATCH_DELAY: unset}).policy == Policy()


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "²"])
def test_a_batch_size_that_is_none_names_its_variable(value: str) -> None:
    with pytest.raises(ValueError, match=f"{BATCH_SIZE}={value}: must be a whole number of at least 1"):
        from_environment({BATCH_SIZE: value})


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_a_delay_that_is_none_names_its_variable(value: str) -> None:
    with pytest.raises(ValueError, match=f"{BATCH_DELAY}={value}: must be a number of seconds of at least 0"):
        from_environment({BATCH_DELAY: value})


def test_a_delay_that_is_no_number_says_what_it_should_be() -> None:
    with pytest.raises(ValueError, match=f"{BATCH_DELAY}=soon: must be a number of seconds"):
        from_environment({BATCH_DELAY: "soon"})


def test_a_lease_is_used_where_one_is_named() -> None:
    assert LEASE_NAME == "DASK_KUBERNETES__CONTROLLER__LEASE__NAME"
    assert LEASE_NAMESPACE == "DASK_KUBERNETES__CONTROLLER__LEASE__NAMESPACE"
    assert from_environment({}).lease is None
    assert from_environment({LEASE_NAME: "a", LEASE_NAMESPACE: "b"}).lease == LeaseName(namespace="b", name="a")


@pytest.mark.parametrize("variable", [LEASE_NAME, LEASE_NAMESPACE])
def test_half_a_lease_is_none(variable: str) -> None:
    with pytest.raises(ValueError, match=f"{LEASE_NAME} and {LEASE_NAMESPACE} name one lease: set both or neither"):
        from_environment({variable: "a"})


def test_the_times_of_the_lease_are_options() -> None:
    given = {LEASE_DURATION: "15", LEASE_RENEW_DEADLINE: "10", LEASE_RETRY_PERIOD: "2.5"}
    assert list(given) == [f"DASK_KUBERNETES__CONTROLLER__LEASE__{key}" for key in _LEASE_KEYS]
    assert from_environment(given).times == Times(15, 10.0, 2.5)
    assert from_environment({}).times == Times()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({LEASE_DURATION: "15.5"}, f"{LEASE_DURATION}=15.5: must be a whole number of at least 1"),
        ({LEASE_RENEW_DEADLINE: "soon"}, f"{LEASE_RENEW_DEADLINE}=soon: must be a number of seconds"),
        ({LEASE_RENEW_DEADLINE: "10"}, "RETRY_PERIOD: the lease duration of 4 s must be at least a second longer"),
    ],
)
def test_times_of_the_lease_that_make_no_sense_name_their_variables(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        from_environment(given)


def test_the_own_pod_is_named_whole_or_not_at_all() -> None:
    whole = {POD_NAMESPACE: "dask-operator", POD_NAME: "controller-1", POD_UID: "uid"}
    assert from_environment(whole).pod == PodReference("dask-operator", "controller-1", "uid")
    assert from_environment({}).pod is None
    for missing in whole:
        with pytest.raises(ValueError, match=f"{POD_NAMESPACE}, {POD_NAME} and {POD_UID} are one Pod"):
            from_environment(whole | {missing: ""})


@pytest.mark.parametrize(("text", "watched"), [("true", True), ("True", True), ("false", False), ("", False)])
def test_nodes_and_queues_are_watched_if_it_says_so(text: str, watched: bool) -> None:
    assert from_environment({WATCH_NODES: text}).watch_nodes is watched
    assert from_environment({KUEUE: text}).kueue is watched


def test_what_is_neither_true_nor_false_is_refused() -> None:
    with pytest.raises(ValueError, match=f"^{WATCH_NODES}=yes: must be true or false$"):
        from_environment({WATCH_NODES: "yes"})
