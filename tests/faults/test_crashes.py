"""A controller killed before or after any of its requests and started again ends as an undisturbed one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.stories import End, Kill, Slot, a_slot, tell
from tests.support.dask import a_scheduler
from tests.support.kubeconfig import credentials
from tests.support.sampling import sampled

from dask_operator.kubernetes.api import Api

pytestmark = pytest.mark.timeout(1800)
SLOTS = 12
_MORE = 3
"""Allowed difference in requests between a disturbed run and the undisturbed one."""
_TRIES = 3
"""Further attempts if a run ends before the request of its kill."""


Point = tuple[int, bool]
"""The kill of a controller: the number of the request, and whether after it."""


@dataclass(frozen=True)
class Outcome:
    """The runs of a scenario. `undisturbed`: its normal end; `ends`: those after each kill; `missed`: kills that never
    happened."""

    undisturbed: End
    ends: tuple[End, ...]
    missed: tuple[int, ...]

    @property
    def killed(self) -> int:
        return sum(end.killed != "nowhere" for end in self.ends)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, figure: Callable[[str], None]) -> dict[str, Outcome]:
    """All scenarios, side by side."""
    return asyncio.run(_tell_all(tmp_path_factory.mktemp("crashes"), figure))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_killed_anywhere_it_ends_as_if_undisturbed(scenario: Scenario, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[scenario.name]
    every = (outcome.undisturbed, *outcome.ends)
    wrong = [found for end in every if (found := end.wrong(outcome.undisturbed))]
    assert not wrong, f"{len(wrong)} of {len(every)}:\n" + "\n\n".join(wrong[:3])
    assert {end.killed for end in outcome.ends[-2:]} == {"nowhere"}, "every request was a kill point"
    assert not outcome.missed, "the story was over before these requests"


async def _tell_all(folder: Path, figure: Callable[[str], None]) -> dict[str, Outcome]:
    async with AsyncExitStack() as stack:
        slots: asyncio.Queue[Slot] = asyncio.Queue()
        info = credentials()
        api = await stack.enter_async_context(Api(lambda: info))
        schedulers = [stack.enter_context(a_scheduler(_made(folder / f"{n}"))) for n in range(SLOTS)]
        for scheduler in schedulers:
            slots.put_nowait(await stack.enter_async_context(a_slot(api, info, scheduler, folder)))
        told = await asyncio.gather(*(_outcome(slots, scenario, figure) for scenario in SCENARIOS))
        return dict(zip(map(str, SCENARIOS), told, strict=True))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def _outcome(slots: asyncio.Queue[Slot], scenario: Scenario, figure: Callable[[str], None]) -> Outcome:
    undisturbed = await _in_slot(slots, scenario, Kill(0, after=False), None)
    last = undisturbed.calls + _MORE
    points = sampled([(n, after) for n in range(1, last) for after in (False, True)])
    beyond = [(last, False), (last, True)]
    ends = await _told(slots, scenario, [*points, *beyond], undisturbed)
    tried, last_ends = list(zip(points, ends[:-2], strict=True)), ends[-2:]
    # A busy machine takes longer, and then progress is reported more often: up to a request that no run makes.
    while {end.killed for end in last_ends} != {"nowhere"} and last < 2 * undisturbed.calls:
        tried += zip(beyond, last_ends, strict=True)
        last += 1
        beyond = [(last, False), (last, True)]
        last_ends = await _told(slots, scenario, beyond, undisturbed)
    # Or less, if the undisturbed run took longer.
    fewest = min(undisturbed.calls, *(end.calls for end in last_ends))

    def missed() -> list[Point]:
        killed = {point for point, end in tried if end.killed != "nowhere"}
        return [point for point in points if point not in killed and point[0] <= fewest - _MORE]

    for _ in range(_TRIES):
        again = missed()
        tried += zip(again, await _told(slots, scenario, again, undisturbed), strict=True)
    every = (*(end for _, end in tried), *last_ends)
    outcome = Outcome(undisturbed, every, tuple(sorted({number for number, _ in missed()})))
    figure(f"{scenario}: killed at {outcome.killed} points of {undisturbed.calls} requests")
    return outcome


async def _told(slots: asyncio.Queue[Slot], scenario: Scenario, points: Sequence[Point], undisturbed: End) -> list[End]:
    """Return the ends of the scenario with the controller killed at each of these points."""
    kills = (Kill(number, after=after) for number, after in points)
    return await asyncio.gather(*(_in_slot(slots, scenario, kill, undisturbed) for kill in kills))


async def _in_slot(slots: asyncio.Queue[Slot], scenario: Scenario, kill: Kill, undisturbed: End | None) -> End:
    slot = await slots.get()
    try:
        return await tell(slot, scenario, kill, undisturbed)
    finally:
        slots.put_nowait(slot)
