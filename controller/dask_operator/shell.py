"""kopf as the shell of the process: arguments, login, logging, signals, probes. It carries none of our objects."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Sequence
from typing import Any

import kopf
from kopf.cli import CLIControls, run

from dask_operator.operator import operate
from dask_operator.settings import Settings

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
logger = logging.getLogger(__name__)


def start(arguments: Sequence[str], settings: Settings) -> None:
    """Runs the controller with the arguments of `kopf run` until it is told to stop. Raises SystemExit."""
    # Parsed by kopf itself, so that they mean what kopf's documentation says.
    options = run.make_context("dask_operator", [*arguments, "--standalone"]).params
    if not options["namespaces"] and not options["clusterwide"]:
        raise SystemExit("which namespaces? Give --all-namespaces, or --namespace=NAME once or several times")
    for name in options["namespaces"]:
        if not _NAMESPACE.fullmatch(name):
            raise SystemExit(f"--namespace={name}: not a namespace's name; patterns are not supported, list each one")
    # Else kopf makes itself an identity from the user's name, and a numeric user need not have one.
    os.environ.setdefault("POD_ID", socket.gethostname())
    stop = asyncio.Event()
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)  # else a line per probe
    kopf_settings = kopf.OperatorSettings()
    kopf_settings.scanning.disabled = True
    registry = _registry(tuple(options["namespaces"]), settings, stop)
    controls = CLIControls(registry=registry, settings=kopf_settings, stop_flag=stop)
    run.main([*arguments, "--standalone"], prog_name="dask_operator", obj=controls)


def _registry(namespaces: Sequence[str], settings: Settings, stop: asyncio.Event) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    running: list[asyncio.Task[None]] = []

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            logger.critical("the controller ends after an error", exc_info=error)
            stop.set()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return _login(**kwargs)

    @kopf.on.startup(registry=registry)
    async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        task = asyncio.create_task(operate(lambda: _login(settings=settings), namespaces, ours))
        task.add_done_callback(ended)
        running.append(task)

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_: Any) -> None:
        stop.set()  # kopf waits for it in vain otherwise, until it gives up
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    ours = settings
    return registry


def _login(**kwargs: Any) -> kopf.ConnectionInfo:
    info = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
    if info is None:
        raise kopf.LoginError("no credentials: neither a Pod's ServiceAccount nor KUBECONFIG nor ~/.kube/config")
    return info
