from __future__ import annotations

import re

from dask_operator import names


def test_the_names_users_look_up() -> None:
    assert names.scheduler("simple") == "simple-scheduler"
    assert names.default_group("simple") == "simple-default"
    assert (names.CLUSTER_LABEL, names.COMPONENT_LABEL) == ("dask.org/cluster-name", "dask.org/component")
    assert names.GROUP_LABEL == "dask.org/workergroup-name"
    assert (names.WORKER_NAME_ENV, names.SCHEDULER_ADDRESS_ENV) == ("DASK_WORKER_NAME", "DASK_SCHEDULER_ADDRESS")


def test_a_worker_has_the_group_and_ten_hex_digits_in_its_name() -> None:
    assert re.fullmatch(r"simple-default-worker-[0-9a-f]{10}", names.worker("simple-default", "uid", 0))


def test_the_same_ordinal_gives_the_same_name_and_every_other_another() -> None:
    assert names.worker("g", "uid", 7) == names.worker("g", "uid", 7)
    assert len({names.worker("g", "uid", ordinal) for ordinal in range(10_000)}) == 10_000


def test_a_group_made_anew_under_its_old_name_gives_other_names() -> None:
    assert names.worker("g", "first", 0) != names.worker("g", "second", 0)


def test_only_the_same_event_has_the_same_name() -> None:
    said = names.event("uid", "Unschedulable", "0/3 nodes are available")
    assert said == names.event("uid", "Unschedulable", "0/3 nodes are available")
    assert said != names.event("uid", "Unschedulable", "0/4 nodes are available")
    assert said != names.event("uid", "Recovered", "0/3 nodes are available")
    assert said != names.event("other", "Unschedulable", "0/3 nodes are available")


def test_the_name_of_a_jobs_runner() -> None:
    assert names.runner("etl") == "etl-runner"
