from __future__ import annotations

import pytest

from dask_operator.backoff import Backoff


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1.0), (5, 8.0), (8, 60.0), (10**6, 60.0)])
def test_it_doubles_up_to_the_longest(failures: int, seconds: float) -> None:
    assert Backoff(first=0.5, longest=60.0).after(failures) == seconds
