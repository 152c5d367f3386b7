"""kopf as the process: arguments, login, logging and signals. It handles none of the controller's objects."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import click
import kopf
from kopf.cli import CLIControls, run

from dask_operator.kubernetes.login import Login
from dask_operator.process import plugins
from dask_operator.process.operator import Operator
from dask_operator.process.server import Address, parse_address
from dask_operator.process.settings import Settings
from dask_operator.reconcile.scope import Scope, parse_scope

logger = logging.getLogger(__name__)


def start(arguments: Sequence[str], settings: Settings) -> None:
    """Run the controller with the arguments of `kopf run` until it is told to stop. Raises SystemExit."""
    logging.setLogRecordFactory(_record)
    _raise_file_limit()
    # kopf parses the arguments itself, so that they mean what its documentation says.
    try:
        context = run.make_context("dask_operator", [*arguments, "--standalone"])
    except click.ClickException as wrong:
        wrong.show()
        raise SystemExit(wrong.exit_code) from None
    except click.exceptions.Exit as done:
        raise SystemExit(done.exit_code) from None
    options = context.params
    if not options["namespaces"] and not options["clusterwide"]:
        raise SystemExit("which namespaces? Give --all-namespaces, or --namespace=NAME once or several times")
    try:
        scope = parse_scope(options["namespaces"])
        address = parse_address(options["liveness_endpoint"]) if options["liveness_endpoint"] else None
    except ValueError as wrong:
        raise SystemExit(str(wrong)) from None
    options["liveness_endpoint"] = None  # kopf's own probe knows nothing of the controller's work.
    # kopf would take its identity from the user's name, which a numeric user need not have.
    os.environ.setdefault("POD_ID", socket.gethostname())
    stop = asyncio.Event()
    kopf_settings = kopf.OperatorSettings()
    kopf_settings.scanning.disabled = True
    registry = _registry(scope, address, settings, stop)
    context.obj = CLIControls(registry=registry, settings=kopf_settings, stop_flag=stop)
    with context:
        run.invoke(context)


def _raise_file_limit() -> None:
    """Let this process open as many files as it is allowed: a container's soft limit is 1,024 by default."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def printable(text: str) -> str:
    """Return a text in which control characters, line breaks and marks of direction are escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _record(*arguments: Any, **options: Any) -> logging.LogRecord:
    """Return a log record of one line, or whose other lines are indented, as those of a traceback are.

    Names, annotations and messages of others must not look like lines of the controller's own.
    """
    record = logging.LogRecord(*arguments, **options)
    with suppress(Exception):  # logging reports arguments that do not fit when it writes the record
        record.msg, record.args = printable(record.getMessage()), None
    if record.exc_info:
        lines = logging.Formatter().formatException(record.exc_info).splitlines()
        record.exc_text = "\n".join(f"  {printable(line)}" for line in lines)
    return record


def _registry(scope: Scope, address: Address | None, settings: Settings, stop: asyncio.Event) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    others = kopf.get_default_registry()
    running: list[asyncio.Task[None]] = []

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            logger.critical("the controller ends after an error", exc_info=error)
            stop.set()

    credentials = Login(os.environ)

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return credentials()

    @kopf.on.startup(registry=registry)
    async def startup(**_: Any) -> None:
        kopf.set_default_registry(others)  # kopf has made ours the default, and plugins have their own.
        plugins.load()
        operator = Operator(credentials, scope, settings, partial(plugins.run, scope, credentials))
        task = asyncio.create_task(operator.run(address))
        task.add_done_callback(ended)
        running.append(task)

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        stop.set()  # Otherwise kopf waits for it until it gives up.
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    return registry
