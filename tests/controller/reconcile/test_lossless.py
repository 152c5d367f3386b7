"""A few of the scale-downs under load of which bench/scale_down measures many."""

from __future__ import annotations

import pytest
from bench.scale_down.ours import ROUTES, scale_downs


@pytest.mark.parametrize("by", sorted(ROUTES))
def test_scale_downs_under_load_lose_nothing_and_hit_nobody_else(by: str) -> None:
    tally = scale_downs(5, by)
    assert tally.scale_downs >= 5
    assert tally.workers_deleted == tally.retired > 0, "each was retired before it was deleted"
    assert (tally.lost, tally.failed, tally.wrong_group, tally.too_many, tally.sums_wrong) == (0, 0, 0, 0, 0)
    assert (tally.tasks_run_again, tally.shuffles_restarted) == (0, 0)
    assert tally.sums_right > 0, "there was load"
