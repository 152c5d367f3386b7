"""What a KubeCluster has open: its DaskCluster, the way to its scheduler, and what it hears of its workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from distributed import Security

from dask_kubernetes.exceptions import (
    ClusterExistsError,
    DaskKubernetesError,
    NotPermittedError,
    SchedulerUnreachableError,
    ValidationError,
)
from dask_kubernetes.operator import status
from dask_kubernetes.operator.connect import Address, Connection
from dask_kubernetes.operator.daskcluster import DaskCluster
from dask_kubernetes.operator.kubernetes import Kubernetes
from dask_kubernetes.operator.names import COMM_PORT, DASHBOARD_PORT
from dask_kubernetes.operator.settings import CreateMode, Settings
from dask_kubernetes.operator.startup import scheduler_is_up
from dask_kubernetes.operator.workers import Listener, WorkerFeed

logger = logging.getLogger(__name__)

Report = Callable[[status.Startup, str], None]
_CLEANUP = 10.0
_RETRY = 0.1


class Session:
    """Made by `open`, ended by `close`. `made`: whether it has made the DaskCluster, rather than found it.

    It does not refer to the KubeCluster that has it, which is thus closed when nobody else does.
    """

    def __init__(self, settings: Settings, kubernetes: Kubernetes, security: Security) -> None:
        namespace = settings.namespace or kubernetes.namespace
        self.cluster = DaskCluster(kubernetes, settings.name, namespace)
        self.made = False
        self.snapshot = status.Snapshot(None)
        self.address = ""
        self.dashboard: Address = ("", 0)
        self.connection_args: dict[str, Any] = {}
        self._settings = settings
        self._security = security
        self._connection = Connection(
            kubernetes, namespace, self.cluster.scheduler_labels, settings.port_forward_cluster_ip
        )
        self._feed: WorkerFeed | None = None

    @classmethod
    async def open(cls, settings: Settings, listener: Listener, security: Security, report: Report) -> Session:
        """With a DaskCluster that was there or is made, as `settings` say. What fails leaves nothing behind.

        Raises DaskKubernetesError.
        """
        kubernetes = await Kubernetes.connect(patience=settings.resource_timeout)
        session = cls(settings, kubernetes, security)
        try:
            await session._open(listener, report)
        except BaseException:
            await session.abandon()
            raise
        return session

    async def look(self) -> status.Snapshot:
        """What there is of the cluster now. Raises ClusterNotFoundError."""
        self.snapshot = await self.cluster.snapshot()
        return self.snapshot

    async def close(self) -> None:
        """Ends what runs here, not the DaskCluster."""
        if self._feed:
            await self._feed.stop()
        await self._connection.close()
        await self.cluster.kubernetes.close()

    async def abandon(self) -> None:
        """Ends all, with the DaskCluster if it was made here. What cannot be ended is logged."""
        self.cluster.kubernetes.patience = 0.0
        await _attempt(self.cluster.delete(_CLEANUP) if self.made else None, f"delete DaskCluster {self.cluster.name}")
        await _attempt(self.close(), "close the connection")

    def stopper(self) -> Callable[[], None]:
        """Has `close` called in the event loop of now, from any thread."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            with suppress(RuntimeError):  # a loop that has ended has nothing left to stop
                loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self.close()))

        return stop

    async def _open(self, listener: Listener, report: Report) -> None:
        await self._find_or_create()
        self.snapshot = await scheduler_is_up(
            self.cluster, self._settings.resource_timeout, lambda now: report(now, "Waiting for the scheduler")
        )
        report(status.startup(self.snapshot, 0), "Connecting to the scheduler")
        service = self.snapshot.service or {}
        self._secure()
        host, port = await self._connection.address(service, COMM_PORT)
        self.address = f"{self._protocol}://{host}:{port}"
        await self._listen(listener)
        local_port = self._settings.scheduler_forward_port or 0
        self.dashboard = await self._connection.address(service, DASHBOARD_PORT, local_port)

    async def _find_or_create(self) -> None:
        mode = self._settings.create_mode
        found = None if mode == CreateMode.CREATE_ONLY else await self.cluster.find()
        if found is not None:
            return
        if mode == CreateMode.CONNECT_ONLY:
            raise self.cluster.gone()
        try:
            await self._create()
        except ClusterExistsError:
            # Somebody may have made it since.
            if mode == CreateMode.CREATE_ONLY or await self.cluster.find() is None:
                raise

    async def _create(self) -> None:
        # One that is interrupted goes on, or nobody would know whether there is something to delete.
        creation = asyncio.ensure_future(self.cluster.create(self._settings.manifest()))
        try:
            await asyncio.shield(creation)
        finally:
            await asyncio.wait([creation], timeout=_CLEANUP)
            if creation.cancel():
                logger.warning(
                    "Kubernetes may have made the DaskCluster %s: it did not answer in time", self.cluster.name
                )
            else:
                self.made = not creation.cancelled() and creation.exception() is None

    def _secure(self) -> None:
        """What a connection takes. Raises ValidationError if the scheduler speaks TLS and there is no certificate."""
        self.connection_args = self._security.get_connection_args("client")
        if self._protocol == "tls" and not self.connection_args.get("ssl_context"):
            raise ValidationError(
                f"the scheduler of {self.cluster.name} speaks TLS: give security=distributed.Security(tls_ca_file=…, "
                "tls_client_cert=…, tls_client_key=…), or set distributed.comm.tls in Dask's configuration"
            )

    @property
    def _protocol(self) -> str:
        return "tls" if status.uses_tls(self.snapshot.cluster or {}) else "tcp"

    async def _listen(self, listener: Listener) -> None:
        """Connects, for as long as it takes a Service to know its Pods."""
        feed = WorkerFeed(listener, self.address, self.connection_args)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.resource_timeout
        while True:
            try:
                await feed.start(timeout=max(deadline - loop.time(), _RETRY))
            except OSError as error:
                failure = self._connection.failure
                if isinstance(failure, NotPermittedError):
                    raise failure from error
                if loop.time() > deadline:
                    raise self._unreachable(failure or error) from error
                await asyncio.sleep(_RETRY)
            else:
                self._feed = feed
                return

    def _unreachable(self, why: Exception) -> SchedulerUnreachableError:
        return SchedulerUnreachableError(
            f"the scheduler of {self.cluster.name} runs and does not answer at {self.address} ({why}): look at its "
            "log, and at network policies"
        )


async def _attempt(what: Awaitable[object] | None, words: str) -> None:
    """Goes on if it fails: another error is on its way to the user."""
    if what is None:
        return
    try:
        await what
    except (DaskKubernetesError, OSError) as error:
        logger.warning("could not %s: %s", words, error)
