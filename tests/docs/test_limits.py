"""The limits that documents state are those of the code."""

from __future__ import annotations

import pytest
from docs.included import ROOT

from dask_operator.agent.scheduler import STARTING
from dask_operator.process.server import FRESH_SECONDS, IDLE_SECONDS, MOST_CONNECTIONS
from dask_operator.reconcile.workqueue import AT_ONCE, LEAST_SHARE

SENTENCES = [
    ("security.md", f"At most {MOST_CONNECTIONS} connections are open: a new one closes the oldest"),
    ("security.md", f"idle ones end after {IDLE_SECONDS:g} s."),
    ("security.md", f"Metrics are calculated at most every {FRESH_SECONDS:g} s."),
    ("security.md", f"The operator works on {AT_ONCE} clusters at a time"),
    ("security.md", f"beyond that on at least {LEAST_SHARE} of each namespace"),
    ("resources.md", f"The nanny waits for that for at most {STARTING:g} s."),
]


@pytest.mark.parametrize(("page", "sentence"), SENTENCES)
def test_a_limit_is_that_of_the_code(page: str, sentence: str) -> None:
    assert sentence in (ROOT / "docs" / page).read_text()
