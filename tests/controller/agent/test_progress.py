"""The progress of a scheduler, as the agent tells it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
from tests.support.kube import eventually
from tests.support.processes import Dask, a_dask

from dask_operator.agent.scheduler import Agent


def _progress(made: Dask) -> dict[str, int]:
    answer: dict[str, int] = httpx.get(f"http://{made.http}/kubernetes/v1/progress", timeout=60).json()
    return answer


def _until(made: Dask, **answer: int) -> None:
    eventually(lambda: _progress(made) == answer, f"the progress is {answer}", 60)


def test_tasks_that_dask_has_forgotten_stay_done() -> None:
    with a_dask() as made:
        _until(made, done=0, left=0, workers=0)
        made.worker("a")
        made.client.gather(made.client.map(lambda n: n, range(10), pure=False))
        eventually(lambda: made.client.run_on_scheduler(_forgotten), "nobody wants them any more", 60)
        _until(made, done=10, left=0, workers=1)
        failed = made.client.submit(lambda: 1 / 0, pure=False)
        waiting = made.client.map(lambda n: n, range(5), resources={"GPU": 1}, pure=False)
        dependent = made.client.submit(sum, waiting, pure=False)
        _until(made, done=11, left=6, workers=1)
        made.client.cancel([*waiting, dependent, failed])
        _until(made, done=11, left=0, workers=1)


async def test_older_releases_count_only_what_they_remember() -> None:
    prefix = SimpleNamespace(states={"memory": 2, "erred": 1, "waiting": 4, "released": 8})
    scheduler: Any = SimpleNamespace(task_prefixes={"x": prefix}, workers={})
    assert await Agent(scheduler).progress() == {"done": 3, "left": 4, "workers": 0}


def _forgotten(dask_scheduler: Any) -> bool:
    return not dask_scheduler.tasks
