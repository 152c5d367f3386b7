from __future__ import annotations

import logging

import pytest

from dask_operator.kubernetes.complaint import Complaint

LOGGER = logging.getLogger("complaint")


def test_a_problem_is_logged_when_it_begins_and_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    complaint = Complaint(LOGGER)
    for text, level in (("a", logging.WARNING), ("a", logging.WARNING), ("b", logging.ERROR), ("b", logging.ERROR)):
        complaint.make(text, 0.0, level)
    complaint.settle()
    complaint.make("b", 0.0)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "a"),
        ("ERROR", "b"),
        ("ERROR", "b"),
    ]


def test_it_is_as_old_as_the_first_of_the_problems_in_a_row() -> None:
    complaint = Complaint(LOGGER)
    assert (complaint.text, complaint.since, complaint.lasting, bool(complaint)) == ("", 0.0, False, False)
    complaint.make("a", 10.0)
    assert not complaint.lasting
    complaint.make("b", 20.0, lasting=True)
    assert (complaint.text, complaint.since, complaint.lasting) == ("b", 10.0, True)
    complaint.settle()
    assert (bool(complaint), complaint.lasting) == (False, False)
    complaint.make("a", 30.0)
    assert complaint.since == 30.0
