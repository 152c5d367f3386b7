"""Killed before or after any of its requests to the API server, and started again, it ends as if nothing had been."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.stories import End, Kill, Slot, a_slot, tell
from tests.support.dask import a_scheduler
from tests.support.kubeconfig import credentials
from tests.support.sampling import sampled

from dask_operator.api import Api

pytestmark = pytest.mark.timeout(1800)
SLOTS = 12
_MORE = 3
"""Requests that a disturbed run may make more, or less, than the undisturbed one."""


@dataclass(frozen=True)
class Outcome:
    """`undisturbed`: how a scenario ends; `ends`: how, wherever the controller was killed; `missed`: where it should
    have been and was not."""

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
    kills = [Kill(n, after=after) for n, after in (*points, (last, False), (last, True))]
    ends = await asyncio.gather(*(_in_slot(slots, scenario, kill, undisturbed) for kill in kills))
    alive = {kill.number for kill, end in zip(kills, ends, strict=True) if end.killed == "nowhere"}
    missed = tuple(sorted(number for number in alive if number <= undisturbed.calls - _MORE))
    outcome = Outcome(undisturbed, tuple(ends), missed)
    figure(f"{scenario}: killed at {outcome.killed} points of {undisturbed.calls} requests")
    return outcome


async def _in_slot(slots: asyncio.Queue[Slot], scenario: Scenario, kill: Kill, undisturbed: End | None) -> End:
    slot = await slots.get()
    try:
        return await tell(slot, scenario, kill, undisturbed)
    finally:
        slots.put_nowait(slot)
