"""Plugins: kopf handlers in packages that announce modules under the entry point `dask_operator_plugin`.

They run in a kopf operator of their own, in a thread of its own. When a kopf operator ends it cancels every task of its
event loop, and a handler that blocks must not hold up the controller.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import kopf

from dask_operator.backoff import Backoff
from dask_operator.reconcile.scope import Scope

GROUP = "dask_operator_plugin"
FINALIZER = "kubernetes.dask.org/plugin"
"""A name other than kopf's own, which older operators left on their objects and the controller removes."""
_GRACE = 3.0
_RENEWAL = timedelta(minutes=10)
"""The time after which credentials in files are read again. kopf closes its watches for that, so not each minute."""
_BACKOFF = Backoff(first=1.0, longest=60.0)
_LASTS = 30.0
"""Seconds after which kopf's operator counts as having worked."""

logger = logging.getLogger(__name__)


def load() -> int:
    """Import all plugins, and return the number of handlers that they have put into kopf's default registry.

    A plugin that cannot be imported is logged, and none of its handlers stays.
    """
    for plugin in sorted(entry_points(group=GROUP)):
        _load(plugin)
    return _handlers(kopf.get_default_registry())


async def run(scope: Scope, login: Callable[[], kopf.ConnectionInfo]) -> None:
    """Run the handlers of plugins until cancelled, and start kopf again whenever it gives up.

    They have the credentials of `login`, unless a plugin logs in by itself.
    """
    clock = asyncio.get_running_loop().time
    failures = 0
    while _handlers(kopf.get_default_registry()):
        began = clock()
        try:
            await _operate(scope, login)
        except Exception as error:
            failures = failures + 1 if clock() < began + _LASTS else 1
            pause = _BACKOFF.after(failures)
            logger.error("plugins: %s; their handlers run again in %.0f s", _sentence(error), pause)  # noqa: TRY400
            await asyncio.sleep(pause)


def _load(plugin: EntryPoint) -> None:
    before = kopf.get_default_registry()
    trial = copy.deepcopy(before)
    kopf.set_default_registry(trial)
    try:
        plugin.load()
    except (Exception, SystemExit):
        kopf.set_default_registry(before)
        logger.exception("plugin %s (%s) does not import; the controller works without it", plugin.name, plugin.value)
    else:
        number = _handlers(trial) - _handlers(before)
        logger.info("plugin %s (%s): %d handlers", plugin.name, plugin.value, number)


def _handlers(registry: kopf.OperatorRegistry) -> int:
    """Return the number of handlers that were added to a registry; a new one has some for logging in."""
    return _size(registry) - _size(type(registry)())


def _size(registry: kopf.OperatorRegistry) -> int:
    return sum(len(kind.get_all_handlers()) for kind in vars(registry).values())


async def _operate(scope: Scope, login: Callable[[], kopf.ConnectionInfo]) -> None:
    """Run kopf's operator once, and raise the error that ended it."""
    registry = _with_login(kopf.get_default_registry(), login)
    stop = threading.Event()
    outcome: Future[Exception] = Future()

    async def operator() -> None:
        try:
            await kopf.operator(
                registry=registry,
                settings=_settings(scope),
                clusterwide=not (scope.names or scope.patterns),
                namespaces=(*scope.names, *scope.patterns),
                standalone=True,
                stop_flag=stop,
            )
        finally:
            stop.set()  # A thread of the event loop's executor waits for it.

    def live() -> None:
        try:
            asyncio.run(operator())
        except BaseException as error:
            outcome.set_result(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        else:
            outcome.set_result(RuntimeError("it ended"))

    # A handler that does not end must not keep the process alive.
    threading.Thread(target=live, name="plugins", daemon=True).start()
    ended = asyncio.wrap_future(outcome)
    try:
        raise await asyncio.shield(ended)
    finally:
        stop.set()
        _, busy = await asyncio.wait([ended], timeout=_GRACE)
        if busy:
            logger.warning("plugins: handlers that do not end within %.0f s are left behind", _GRACE)


def _with_login(registry: kopf.OperatorRegistry, login: Callable[[], kopf.ConnectionInfo]) -> kopf.OperatorRegistry:
    """Return a registry that logs in as the controller does: kopf's own login does not take all that kubectl takes."""
    own = copy.deepcopy(registry)
    activities = own._activities.get_all_handlers()
    if any(handler.activity == "authentication" and not handler._fallback for handler in activities):
        return own

    @kopf.on.login(registry=own)
    def log_in(**_: Any) -> kopf.ConnectionInfo:
        # kopf asks for others once these end, or else once they are refused.
        info = login()
        return replace(info, expiration=info.expiration or datetime.now(UTC) + _RENEWAL)

    return own


def _settings(scope: Scope) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # Only patterns of namespaces need a scan, for which the chart grants permission only then.
    settings.scanning.disabled = not scope.patterns
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage()
    settings.process.ultimate_exiting_timeout = None
    return settings


def _sentence(error: BaseException) -> str:
    what = str(error.args[0]) if error.args else type(error).__name__
    if getattr(error, "status", None) == 403:
        return f"{what}; grant it by the chart's value rbac.extraRules"
    return f"kopf gave up: {type(error).__name__}: {what}"
