"""A preload of Dask schedulers, with which workers leave without losing what they compute.

A worker that drains gets no new task. Its results move to other workers, tasks that wait there go elsewhere, and tasks
that run there end there. Then it is retired. While it takes part in a P2P shuffle it stays, because every participant
that leaves makes the whole shuffle start again.

A drain begins by `POST /kubernetes/v1/drain`, or when the process of a worker gets SIGTERM: the scheduler sends every
nanny and worker a plugin for that. `POST /kubernetes/v1/resume` takes back workers that drain, and
`GET /kubernetes/v1/workers` tells what each holds. Dask's own protocol has the same as operations.

Runs in the user's image, with Python since 3.8 and Dask since 2022.1, and needs nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import pickle
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from itertools import chain, islice
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed.diagnostics.plugin import NannyPlugin, WorkerPlugin
from distributed.http.utils import RequestHandler
from distributed.preloading import process_preloads

ROUTE = "/kubernetes/v1"
API = "distributed.http.scheduler.api"
# `--dashboard-prefix` is a part of every route.
_PREFIX = "(?:/.*)?"
LARGEST_REQUEST = 4 * 2**20
PAUSE = 0.1
# The first heartbeat after a worker was paused may tell of tasks before. The next one may come before the end of a task
# that it does not tell of any more, as ends of tasks come by another connection.
HEARTBEATS = 3
RETIRED, OVERDUE, RESUMED, UNKNOWN = "retired", "overdue", "resumed", "unknown"
ENDING = ("closing", "closed", "failed")
"""Names of the status of a server of Dask that takes no part any more."""
DATA, ACTORS = "data", "actors"
"""Reasons to keep a worker."""
SHUFFLE, MOVES, TASKS = "shuffle", "data moves", "tasks"
"""The work that keeps a worker which drains."""
LEFT, DONE = ("waiting", "no-worker", "queued", "processing"), ("memory", "erred")
"""The states of tasks that are still to be done, and of those that have ended."""
REMEMBERED = 1000
LONGEST_POD_NAME = 253
# For workers without the variable: Kubernetes' default grace period without the time that a worker needs to close.
DRAIN_SECONDS = 20.0
# Results that have not moved by the end of the drain may use a part of the time to close.
MOVING = 5.0
# A nanny knows its worker after the scheduler does, and closes one that starts only then.
STARTING = 60.0
# Of so many tasks it is looked at whether they need resources, and of so many at which. Each counts for several others.
LOOKED_AT, COUNTED = 10_000, 2_000
# An answer has so many names of resources, each of so many letters.
MOST_RESOURCES, LONGEST_NAME = 20, 64
logger = logging.getLogger("distributed.kubernetes")


class Drain:
    """The departure of a worker: when it must end, on the monotonic clock, and the task that carries it out.

    `leaves`: the worker's own process is about to end, so nobody can take it back. `retires`: nothing runs on it any
    more, so it is too late to take it back.
    """

    def __init__(self, deadline: float) -> None:
        self.began = time.monotonic()
        self.deadline = deadline
        self.waits_for = SHUFFLE
        self.leaves = False
        self.retires = False
        self.resumed = False
        self.task: asyncio.Future[str]

    @property
    def waits(self) -> bool:
        return not self.resumed and time.monotonic() < self.deadline

    async def pause(self) -> None:
        """Wait until it is time to look again: less often in a long drain, as there may be a thousand."""
        await asyncio.sleep(min(max((time.monotonic() - self.began) / 20, PAUSE), 10 * PAUSE))


class Agent:
    """The drains of a scheduler's workers by address. A worker drains once, whoever asks for it, and how often.

    `gone`: the last workers that were retired, by address, with RETIRED or OVERDUE. `pods`: the names of workers' Pods.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.drains: dict[str, Drain] = {}
        self.gone: dict[str, str] = {}
        self.pods: dict[str, str] = {}

    async def workers(self) -> dict[str, Any]:
        """Return what each worker holds, `{"workers": {address: {...}}}`."""
        participants = {address for run in self._shuffle_runs() for address in run.participating_workers}
        return {"workers": {ws.address: self._worker(ws, participants) for ws in self.scheduler.workers.values()}}

    async def demand(self) -> dict[str, Any]:
        """Return how many workers are wanted, and for tasks that need resources, how many threads."""
        try:
            return Demand(self.scheduler).answer()
        except Exception:
            # A release of Dask in which a task or a worker has other attributes.
            logger.exception("The tasks that need resources are not told from others")
            return {"target": int(self.scheduler.adaptive_target()), "needs": []}

    async def progress(self) -> dict[str, Any]:
        """Return `{"done": int, "left": int, "workers": int}`: tasks since the scheduler's start, and its workers now.

        Dask forgets a task that nobody wants any more, so the ends of tasks are counted. One that is computed again
        counts again.
        """
        left = done = 0
        for prefix in self.scheduler.task_prefixes.values():
            states = prefix.states
            left += sum(states.get(state, 0) for state in LEFT)
            ended = getattr(prefix, "state_counts", states)
            done += sum(ended.get(state, 0) for state in DONE)
        return {"done": done, "left": left, "workers": len(self.scheduler.workers)}

    def _worker(self, ws: Any, participants: set[str]) -> dict[str, Any]:
        drain = self.drains.get(ws.address)
        return {
            "name": str(ws.name),
            "pod": self.pods.get(ws.address, ""),
            "nbytes": ws.nbytes,
            "tasks": len(ws.processing),
            "seconds": ws.occupancy,
            "shuffles": ws.address in participants,
            "draining": drain is not None and not drain.resumed,
            "leaves": drain is not None and drain.leaves,
        }

    async def belongs(self, worker: str, pod: str) -> None:
        """Record the Pod of a worker, which its plugin tells."""
        self.pods = {address: name for address, name in self.pods.items() if address in self.scheduler.workers}
        if worker in self.scheduler.workers:
            self.pods[worker] = str(pod)[:LONGEST_POD_NAME]

    async def resume(self, workers: list[str]) -> dict[str, Any]:
        """Take back workers that drain. Return `{"resumed": [address, ...]}`; for the others it is too late."""
        drains = {worker: self.drains[worker] for worker in workers if worker in self.drains}
        back = [worker for worker, drain in drains.items() if not drain.leaves and not drain.retires]
        for worker in back:
            drains[worker].resumed = True
        return {"resumed": back}

    async def drain_all(
        self, workers: list[str], seconds: float, wait: float | None = None, leaves: bool = False
    ) -> dict[str, Any]:
        """Drain workers, and answer when all have ended, or when one has or `wait` seconds are over.

        Return `{"retired": [address, ...], "overdue": [address, ...], "kept": {address: reason}, "draining": {address:
        what it waits for}}`. A retired worker is `overdue` if it was at work when its time ended. Workers that nobody
        knows and those that were taken back are in none of them.
        """
        drains = {worker: asyncio.ensure_future(self.drain(worker, seconds, leaves)) for worker in workers}
        if drains:
            await asyncio.wait(drains.values(), timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            # Others that end at about the same time are in the same answer.
            await asyncio.wait(drains.values(), timeout=None if wait is None else 2 * PAUSE)
        # One that has ended a moment ago is among those that are gone before its end is told.
        ends = {worker: _end_of(drain) if drain.done() else self.gone.get(worker) for worker, drain in drains.items()}
        for drain in drains.values():
            drain.cancel()  # ends the wait for it, and not the drain itself
        going_on = [worker for worker, end in ends.items() if end is None and worker in self.drains]
        return {
            "retired": [worker for worker, end in ends.items() if end in (RETIRED, OVERDUE)],
            "overdue": [worker for worker, end in ends.items() if end == OVERDUE],
            "kept": {worker: end for worker, end in ends.items() if end in (DATA, ACTORS)},
            "draining": {worker: self.drains[worker].waits_for for worker in going_on},
        }

    async def drain(self, worker: str, seconds: float, leaves: bool = False) -> str:
        """Drain a worker. Return how it ended: RETIRED, OVERDUE, RESUMED, UNKNOWN, or why it is kept.

        After so many `seconds` the worker is retired with what runs on it. It is kept with ACTORS, and with DATA that
        no other worker can take.
        """
        self._keep_shuffles_off()
        deadline = time.monotonic() + seconds
        if worker in self.drains and self.drains[worker].resumed:
            await asyncio.wait([self.drains[worker].task])
        if worker not in self.scheduler.workers:
            return self.gone.get(worker, UNKNOWN)
        drain = self.drains.get(worker)
        if drain is None:
            drain = self.drains[worker] = Drain(deadline)
            drain.task = asyncio.ensure_future(self._drain(worker, drain))
            drain.task.add_done_callback(lambda _: self.drains.pop(worker, None))
        drain.deadline = min(drain.deadline, deadline)
        drain.leaves = drain.leaves or leaves
        return await asyncio.shield(drain.task)

    async def _drain(self, address: str, drain: Drain) -> str:
        ws = self.scheduler.workers[address]
        self.gone.pop(address, None)
        if getattr(ws, "actors", None):
            return ACTORS
        while self._shuffles(address) and drain.waits:
            await drain.pause()
        if drain.resumed:
            return RESUMED
        drain.waits_for = MOVES
        # The worker stays known to the scheduler, and its tasks go on.
        if not await self.scheduler.retire_workers(workers=[address], close_workers=False, remove=False):
            return self._remains(ws)
        drain.waits_for = TASKS
        busy = not await self._until_done(ws, drain)
        if drain.resumed:
            self._resume(ws)
            return RESUMED
        drain.retires, drain.waits_for = True, MOVES
        # Results of the tasks that have ended since then move as well.
        if not await self.scheduler.retire_workers(workers=[address], close_workers=False, remove=True):
            self._resume(ws)
            return self._remains(ws)
        self.gone[address] = OVERDUE if busy else RETIRED
        if len(self.gone) > REMEMBERED:
            del self.gone[next(iter(self.gone))]
        return self.gone[address]

    async def _until_done(self, ws: Any, drain: Drain) -> bool:
        """Wait until nothing runs on a worker any more, and give away what waits there. Return whether that came."""
        quiet, seen = 0, ws.last_seen
        while self._is_known(ws) and drain.waits:
            busy, shuffles = self._is_busy(ws, quiet), self._shuffles(ws.address)
            if not busy and not shuffles:
                return True
            drain.waits_for = TASKS if busy else SHUFFLE
            await drain.pause()
            quiet, seen = 0 if self._runs(ws) else quiet + (ws.last_seen != seen), ws.last_seen
            self._give_away(ws)
        return not self._is_known(ws) or not (self._is_busy(ws, HEARTBEATS) or self._shuffles(ws.address))

    def _is_known(self, ws: Any) -> bool:
        return self.scheduler.workers.get(ws.address) is ws

    def _is_busy(self, ws: Any, quiet: int) -> bool:
        """Return whether a worker may run a task. `quiet`: the number of heartbeats that have told of none."""
        return bool(ws.processing) and (quiet < HEARTBEATS or self._runs(ws))

    def _runs(self, ws: Any) -> bool:
        return any(ts in ws.executing or ts in long_running(ws) for ts in ws.processing)

    def _give_away(self, ws: Any) -> None:
        """Ask a worker for its waiting tasks, as in work stealing. It refuses those that run."""
        stealing = self.scheduler.extensions.get("stealing")
        decide = getattr(self.scheduler, "decide_worker_non_rootish", None)
        if stealing is None or decide is None:
            return
        for ts in list(ws.processing):
            if ts in ws.executing or ts in long_running(ws) or ts in stealing.in_flight:
                continue
            thief = decide(ts)
            if thief is not None and thief is not ws:
                stealing.move_task_request(ts, ws, thief)

    def _resume(self, ws: Any) -> None:
        """Let a worker go on whose results no other worker can take."""
        if self._is_known(ws):
            change = {"op": "worker-status-change", "status": "running", "stimulus_id": f"kubernetes-{time.time()}"}
            self.scheduler.stream_comms[ws.address].send(change)

    def _remains(self, ws: Any) -> str:
        return DATA if self._is_known(ws) else UNKNOWN

    def _shuffles(self, address: str) -> bool:
        """Return whether a worker takes part in a P2P shuffle that goes on."""
        return any(address in run.participating_workers for run in self._shuffle_runs())

    def _shuffle_runs(self) -> list[Any]:
        return list(getattr(self.scheduler.plugins.get("shuffle"), "active_shuffles", {}).values())

    def _keep_shuffles_off(self) -> None:
        """Let new shuffles put no output on workers that drain."""
        plugin = self.scheduler.plugins.get("shuffle")
        if hasattr(plugin, "scheduler") and not isinstance(plugin.scheduler, Staying):
            plugin.scheduler = Staying(self.scheduler, self.drains)


def long_running(ws: Any) -> Any:
    """Return the tasks of a worker that have seceded. Releases before 2022.8 have another name for them."""
    return getattr(ws, "long_running", None) or getattr(ws, "_long_running", ())


def _end_of(drain: asyncio.Future[str]) -> str:
    """Return how a drain ended; one that failed may be begun again."""
    if error := drain.exception():
        logger.error("A worker could not drain", exc_info=error)
        return UNKNOWN
    return drain.result()


class Staying:
    """A scheduler as its plugin for shuffles sees it: an iteration over its workers passes over those that drain."""

    def __init__(self, scheduler: Any, drains: dict[str, Drain]) -> None:
        self._scheduler = scheduler
        self._drains = drains

    @property
    def workers(self) -> StayingWorkers:
        return StayingWorkers(self._scheduler.workers, self._drains)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)


class StayingWorkers:
    def __init__(self, workers: Any, drains: dict[str, Drain]) -> None:
        self._workers = workers
        self._drains = drains

    def __iter__(self) -> Iterator[str]:
        staying = [address for address in self._workers if address not in self._drains]
        return iter(staying or list(self._workers))

    def __contains__(self, address: str) -> bool:
        return address in self._workers

    def __getitem__(self, address: str) -> Any:
        return self._workers[address]

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workers, name)


class Need:
    """The tasks that need the same resources: their number, how many run, and the seconds that they take in all."""

    def __init__(self) -> None:
        self.tasks = self.running = self.seconds = 0.0

    def threads(self, target_duration: float) -> int:
        """Return how many of the tasks should run at once, at least those that do."""
        return math.ceil(min(self.tasks, max(self.running, math.ceil(self.seconds / target_duration), 1.0)))


class Demand:
    """The work of a scheduler: how many workers it wants, and for tasks that need resources, how many threads.

    Of many tasks some are looked at, and count for the others.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.workers = list(scheduler.workers.values())
        self.target_duration = parse_timedelta(dask.config.get("distributed.adaptive.target-duration"))
        self.needs: dict[tuple[tuple[str, float], ...], Need] = {}
        # Of the tasks on workers those that need resources, and these workers.
        self.served = Need()
        self.serving: set[str] = set()
        # Of the tasks without a worker those that need no resources.
        self.waiting = Need()

    def answer(self) -> dict[str, Any]:
        """Return `{"target": int, "needs": [{"resources": {name: number}, "threads": int, "offered": bool}, ...]}`.

        `target`: how many workers the tasks want that need no resources. `threads`: how many tasks that need these
        resources should run at once. `offered`: there are workers that offer them.
        """
        self._count_waiting()
        self._count_placed()
        target = self._target() if self.needs else self.scheduler.adaptive_target()
        return {"target": int(target), "needs": list(self._told())}

    def _count_waiting(self) -> None:
        unrunnable, queued = self.scheduler.unrunnable, getattr(self.scheduler, "queued", ())
        # No new worker can run the tasks that are pinned.
        tasks, weight = _some(unrunnable, len(unrunnable), LOOKED_AT)
        movable = [ts for ts in tasks if not _is_pinned(ts)]
        self._count([ts for ts in movable if ts.resource_restrictions], weight)
        free = [ts for ts in movable if not ts.resource_restrictions]
        for waiting, each in ((free, weight), (queued, 1.0)):
            some, of = _some(waiting, len(waiting), COUNTED)
            self.waiting.tasks += len(waiting) * each
            self.waiting.seconds += self._seconds(Counter(ts.prefix for ts in some)) * of * each

    def _count_placed(self) -> None:
        number = sum(len(ws.processing) for ws in self.workers)
        tasks, weight = _some(chain.from_iterable(ws.processing for ws in self.workers), number, LOOKED_AT)
        restricted = [(ts, ts.processing_on) for ts in tasks if ts.resource_restrictions]
        self.serving = {ws.address for _, ws in restricted}
        self.served.tasks = len(restricted) * weight
        some, each = _some(restricted, len(restricted), COUNTED)
        # The time of tasks that have seceded is no part of the total.
        occupying = Counter(ts.prefix for ts, ws in some if ts not in long_running(ws))
        self.served.seconds = self._seconds(occupying) * each * weight
        running = [ts for ts, ws in some if ts in ws.executing]
        # One that is pinned needs the worker that it is on, and no other.
        self._count(running + [ts for ts, ws in some if ts not in ws.executing and not _is_pinned(ts)], each * weight)
        for ts in running:
            self.needs[_resources(ts.resource_restrictions.items())].running += each * weight

    def _count(self, tasks: list[Any], weight: float) -> None:
        """Add tasks to those that need the same resources."""
        some, each = _some(tasks, len(tasks), COUNTED)
        same = Counter((tuple(ts.resource_restrictions.items()), ts.prefix) for ts in some)
        for (resources, prefix), number in same.items():
            need = self.needs.setdefault(_resources(resources), Need())
            need.tasks += number * each * weight
            need.seconds += self._seconds({prefix: number}) * each * weight

    def _seconds(self, numbers: Mapping[Any, int]) -> float:
        """Return how long so many tasks of each prefix are expected to run, as Dask estimates it."""
        return sum(number * self._duration(prefix) for prefix, number in numbers.items())

    def _duration(self, prefix: Any) -> float:
        if prefix.duration_average >= 0:
            return float(prefix.duration_average)
        longest = getattr(prefix, "max_exec_time", -1)
        return float(2 * longest if longest > 0 else self.scheduler.UNKNOWN_TASK_DURATION)

    def _target(self) -> int:
        """Return how many workers are wanted beside those for tasks that need resources, as Dask calculates it."""
        target: int
        number = len(self.workers)
        seconds = self.scheduler.total_occupancy - self.served.seconds + self.waiting.seconds
        tasks = sum(len(ws.processing) for ws in self.workers) - self.served.tasks + self.waiting.tasks
        target = max(math.ceil(min(tasks, math.ceil(seconds / self.target_duration))), 0)
        if self.workers:
            target = math.ceil(target / sum(ws.nthreads for ws in self.workers) * number)
        elif self.waiting.tasks:
            target = max(target, 1)
        limit = sum(ws.memory_limit for ws in self.workers)
        if sum(ws.nbytes for ws in self.workers) > 0.6 * limit > 0:
            target = max(target, 2 * number - len(self.serving))
        if target >= number:
            return target
        leaving = {*self.scheduler.workers_to_close(), *self.serving}
        return max(target, sum(ws.address not in leaving for ws in self.workers))

    def _told(self) -> Iterator[dict[str, Any]]:
        left = MOST_RESOURCES
        for resources, need in sorted(self.needs.items(), key=lambda item: -item[1].tasks):
            if len(resources) <= left and all(math.isfinite(number) for _, number in resources):
                left -= len(resources)
                threads = need.threads(self.target_duration)
                yield {"resources": dict(resources), "threads": threads, "offered": self._is_offered(resources)}

    def _is_offered(self, resources: tuple[tuple[str, float], ...]) -> bool:
        """Return whether there are workers that offer each of these resources."""
        offered = self.scheduler.resources
        return all(max(offered.get(name, {}).values(), default=-1.0) >= number for name, number in resources)


def _some(tasks: Iterable[Any], number: int, most: int) -> tuple[list[Any], float]:
    """Return at most so many of a number of tasks, evenly distributed, and for how many each of them counts."""
    step = -(-number // most)
    # An odd step meets both of two kinds of tasks that alternate.
    some = list(islice(tasks, 0, None, step + 1 - step % 2 if step > 1 else 1))
    return some, number / max(len(some), 1)


def _is_pinned(ts: Any) -> bool:
    """Return whether a task must run on certain workers."""
    return bool(ts.worker_restrictions or ts.host_restrictions) and not ts.loose_restrictions


def _resources(needed: Iterable[tuple[Any, Any]]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((str(name)[:LONGEST_NAME], max(float(number), 0.0)) for name, number in needed))


class DemandHandler(RequestHandler):
    """The demand of a scheduler's tasks."""

    async def get(self) -> None:
        self.write(await self.server.kubernetes_agent.demand())


class ProgressHandler(RequestHandler):
    """A request to tell how far the scheduler is."""

    async def get(self) -> None:
        self.write(await self.server.kubernetes_agent.progress())


class WorkersHandler(RequestHandler):
    """A request to tell what each worker holds."""

    async def get(self) -> None:
        self.write(await self.server.kubernetes_agent.workers())


class DrainHandler(RequestHandler):
    """A request to drain workers, `{"workers": [address, ...], "seconds": number, "wait": number}`."""

    async def post(self) -> None:
        if asked := _asked(self):
            self.write(await self.server.kubernetes_agent.drain_all(**asked))


class ResumeHandler(RequestHandler):
    """A request to take back workers that drain, `{"workers": [address, ...]}`."""

    async def post(self) -> None:
        if asked := _asked(self):
            self.write(await self.server.kubernetes_agent.resume(**asked))


def _asked(handler: Any) -> dict[str, Any]:
    """Return a request's arguments, none if it is too large to be read."""
    if len(handler.request.body) > LARGEST_REQUEST:
        handler.set_status(413)
        return {}
    asked: dict[str, Any] = json.loads(handler.request.body)
    return asked


class NannyDeparture(NannyPlugin):
    """A plugin that drains the worker of a nanny on SIGTERM, before it closes."""

    name = "kubernetes-departure"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def setup(self, nanny: Any) -> None:
        """Add the nanny to those that its process drains. Let one that closes already start no worker any more."""
        if not _drain_on_sigterm(nanny, self.seconds):
            # Dask's handler is gone after the first signal, and closes the nanny a moment later.
            await asyncio.sleep(PAUSE)
        if nanny.status.name in ENDING:
            await asyncio.Event().wait()  # until its event loop ends


class WorkerDeparture(WorkerPlugin):
    """A plugin that drains a worker without a nanny on SIGTERM, before it closes."""

    name = "kubernetes-departure"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def setup(self, worker: Any) -> None:
        """Tell the worker's Pod, and add it to those that its process drains, unless a nanny closes it."""
        if worker.nanny:
            # `tini -g` sends the signal to this process too.
            with suppress(ValueError):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            _drain_on_sigterm(worker, self.seconds)
        if pod := os.environ.get("KUBERNETES_DASK_POD"):
            with suppress(Exception):
                await worker.scheduler.kubernetes_belongs(worker=worker.address, pod=pod)


def _drain_on_sigterm(server: Any, seconds: float) -> bool:
    """Return whether the process has a handler of its own, which the server's drain then precedes."""
    handler = signal.getsignal(signal.SIGTERM)
    if isinstance(handler, Leave):
        handler.servers.append(server)
    elif callable(handler):
        # Not in the main thread: a program that ends its workers itself, as LocalCluster does.
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, Leave(handler, seconds, server))
    return callable(handler)


def _is_starting(server: Any) -> bool:
    """Return whether this is a nanny whose worker starts."""
    if hasattr(server, "nanny") or server.status.name in ENDING:
        return False
    return server.process is None or server.process.status.name in ("init", "starting")


async def _until_started(server: Any, seconds: float) -> None:
    """Wait until a nanny knows its worker, which may have begun to compute."""
    for _ in range(math.ceil(seconds / PAUSE)):
        if not _is_starting(server):
            return
        await asyncio.sleep(PAUSE)


class Leave:
    """A handler of SIGTERM: drain, then do what the handler before did. A second signal does that at once."""

    def __init__(self, close: Any, seconds: float, server: Any) -> None:
        self.close = close
        self.seconds = float(os.environ.get("KUBERNETES_DASK_DRAIN_SECONDS", seconds))
        self.servers = [server]
        self.loop = asyncio.get_running_loop()
        self.leaving = False

    def __call__(self, signum: int, frame: Any) -> None:
        if self.leaving:
            self.close(signum, frame)
            return
        self.leaving = True
        self.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self._leave(signum, frame)))

    async def _leave(self, signum: int, frame: Any) -> None:
        drains = asyncio.gather(*map(self._drain, self.servers), return_exceptions=True)
        try:
            # A request that is cancelled may take long to end, and nobody waits for that.
            await asyncio.wait([drains], timeout=self.seconds + MOVING)
            if not drains.done():
                drains.cancel()
                logger.warning("Not drained within %.0f s", self.seconds)
                return
            for answer in drains.result():
                logger.info("Before the end: %s", answer)
            await self._close_workers()
        finally:
            self.close(signum, frame)

    async def _close_workers(self) -> None:
        """Close workers without a nanny. Each may be about to close, as its scheduler does not know it any more.

        Dask's own handler would end the event loop in the middle of that, and the process would stay.
        """
        closing = [asyncio.ensure_future(server.close()) for server in self.servers if hasattr(server, "nanny")]
        if closing:
            await asyncio.wait(closing, timeout=MOVING)

    async def _drain(self, server: Any) -> str:
        """Drain a worker. Try again while no other can take its data: its replacement may be about to start."""
        deadline = time.monotonic() + self.seconds
        await _until_started(server, min(self.seconds, STARTING))
        address = getattr(server, "worker_address", None) or server.address
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            answer = await server.scheduler.kubernetes_drain(workers=[address], seconds=left, leaves=True)
            if answer["kept"].get(address) != DATA or not left:
                return f"{address}: {answer['kept'].get(address, RETIRED)}"
            await asyncio.sleep(1.0)


class Text:
    """An object that is pickled as the text of this module, which any version of Python can load, not as bytecode."""

    def __init__(self, expression: str) -> None:
        self.expression = expression

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        text = os.environ["KUBERNETES_DASK_AGENT"]
        make = "(lambda space: (exec(%r, space), eval(%r, space))[1])({'__name__': 'dask_kubernetes_agent'})"
        return eval, (make % (text, self.expression),)


def dask_setup(scheduler: Any) -> None:
    """Add the agent to a scheduler. A scheduler that cannot have it goes on without."""
    try:
        _add(scheduler)
        _preload_of_files(scheduler)
    except Exception:
        logger.exception("This scheduler works without all or part of the agent of dask-kubernetes-operator")


def _add(scheduler: Any) -> None:
    agent = scheduler.kubernetes_agent = Agent(scheduler)
    scheduler.handlers.update(
        kubernetes_workers=operation(agent.workers),
        kubernetes_demand=operation(agent.demand),
        kubernetes_progress=operation(agent.progress),
        kubernetes_drain=operation(agent.drain_all),
        kubernetes_resume=operation(agent.resume),
        kubernetes_belongs=operation(agent.belongs),
    )
    # Whoever has chosen the routes may have closed those by which workers are retired.
    chosen = dask.config.get("distributed.scheduler.http.routes", None, config=dask.config.collect())
    if chosen is None or API in chosen:
        own = [
            ("workers", WorkersHandler),
            ("drain", DrainHandler),
            ("resume", ResumeHandler),
            ("demand", DemandHandler),
            ("progress", ProgressHandler),
        ]
        routes = [(f"{_PREFIX}{ROUTE}/{name}", handler, {"dask_server": scheduler}) for name, handler in own]
        scheduler.http_application.add_handlers(".*", routes + ([] if chosen else _api(scheduler)))
    for plugins, plugin in ((scheduler.nanny_plugins, NannyDeparture), (scheduler.worker_plugins, WorkerDeparture)):
        plugins[plugin.name] = pickle.dumps(Text(f"{plugin.__name__}({DRAIN_SECONDS})"))


def operation(act: Any) -> Any:
    """Return an operation of Dask's protocol. Releases before 2022.6 give it the connection, too."""
    return lambda *_, **asked: act(**asked)


def _api(scheduler: Any) -> list[tuple[str, Any, dict[str, Any]]]:
    """Return the routes of Dask's HTTP API, which are off by default, and which old releases lack."""
    try:
        api = import_module(API)
    except ImportError:
        return []
    return [(_PREFIX + route, handler, {**options, "dask_server": scheduler}) for route, handler, options in api.routes]


def _preload_of_files(scheduler: Any) -> None:
    """Add the preloads of configuration files, which the environment variable that names this one has overridden."""
    if len(dask.config.get("distributed.scheduler.preload")) > 1:
        return  # The user's own variable, which overrides files
    files = dask.config.merge(*dask.config.collect_yaml(dask.config.paths))
    preload = dask.config.get("distributed.scheduler.preload", [], config=files)
    argv = dask.config.get("distributed.scheduler.preload-argv", [], config=files)
    # Dask starts them after this one, as it goes on with the list, and ends them.
    preloads = getattr(scheduler.preloads, "_preloads", scheduler.preloads)
    preloads.extend(process_preloads(scheduler, preload, argv))
