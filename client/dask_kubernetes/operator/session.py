"""The open resources of a KubeCluster: its DaskCluster, connection to the scheduler, and feed of workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from distributed import Security
from distributed.comm.registry import get_backend

from dask_kubernetes.exceptions import (
    ClusterExistsError,
    DaskKubernetesError,
    NotPermittedError,
    SchedulerUnreachableError,
    ValidationError,
)
from dask_kubernetes.operator.access.connect import Address, Connection
from dask_kubernetes.operator.access.credentials import in_url
from dask_kubernetes.operator.access.kubernetes import Kubernetes
from dask_kubernetes.operator.access.workers import Listener, WorkerFeed
from dask_kubernetes.operator.daskcluster import DaskCluster
from dask_kubernetes.operator.diagnosis import listening, status
from dask_kubernetes.operator.diagnosis.facts import Snapshot
from dask_kubernetes.operator.manifests.names import COMM_PORT, DASHBOARD_PORT
from dask_kubernetes.operator.settings import CreateMode, Settings
from dask_kubernetes.operator.startup import scheduler_is_up

logger = logging.getLogger(__name__)

Report = Callable[[status.Startup, str], None]
_CLEANUP = 10.0
_RETRY = 0.1


class Session:
    """An open DaskCluster. Use `open` to create a session, and `close` to end it.

    `created` says whether this session created the DaskCluster. Sessions do not refer to their KubeCluster, so that it
    can be garbage collected.
    """

    def __init__(self, settings: Settings, kubernetes: Kubernetes, security: Security) -> None:
        namespace = settings.namespace or kubernetes.namespace
        self.cluster = DaskCluster(kubernetes, settings.name, namespace)
        self.created = False
        self.snapshot = Snapshot(None)
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
        """Find or create the DaskCluster and connect to its scheduler. A failure leaves nothing behind.

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

    async def refresh(self) -> Snapshot:
        """Read the cluster's objects. Raises ClusterNotFoundError."""
        self.snapshot = await self.cluster.snapshot()
        return self.snapshot

    async def suspend(self) -> None:
        """Suspend the cluster. Raises as `DaskCluster.suspend`."""
        await self.cluster.suspend(self._settings.resource_timeout)
        await self.refresh()

    async def resume(self) -> None:
        """Start a suspended cluster as a new one, and wait for its scheduler. Raises as `scheduler_is_up`."""
        await self.cluster.resume()
        self.snapshot = await scheduler_is_up(self.cluster, self._settings.resource_timeout, lambda _: None)

    async def close(self) -> None:
        """Close connections and end background tasks. The DaskCluster stays."""
        if self._feed:
            await self._feed.stop()
        await self._connection.close()
        await self.cluster.kubernetes.close()

    async def abandon(self) -> None:
        """Close the session, and delete the DaskCluster if this session created it. Errors are logged."""
        self.cluster.kubernetes.patience = 0.0
        if self.created:
            await _log_failure(self.cluster.delete(_CLEANUP), f"delete DaskCluster {self.cluster.name}")
        await _log_failure(self.close(), "close the connection")

    def threadsafe_close(self) -> Callable[[], None]:
        """Return a function that has the current event loop call `close`, from any thread."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            with suppress(RuntimeError):  # the loop is closed, and with it all connections
                loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self.close()))

        return stop

    async def _open(self, listener: Listener, report: Report) -> None:
        await self._find_or_create()
        self.snapshot = await scheduler_is_up(
            self.cluster, self._settings.resource_timeout, lambda now: report(now, "Waiting for the scheduler")
        )
        report(status.startup(self.snapshot, 0), "Connecting to the scheduler")
        service = listening.with_known_names(self.snapshot.service or {}, self.snapshot.cluster or {})
        self._set_connection_args()
        host, port = await self._connection.address(service, COMM_PORT)
        self.address = f"{self._protocol}://{in_url(host)}:{port}"
        await self._listen(listener)
        local_port = self._settings.scheduler_forward_port or 0
        host, port = await self._connection.address(service, DASHBOARD_PORT, local_port)
        self.dashboard = in_url(host), port

    async def _find_or_create(self) -> None:
        mode = self._settings.create_mode
        found = None if mode == CreateMode.CREATE_ONLY else await self.cluster.find()
        if found is not None:
            return
        if mode == CreateMode.CONNECT_ONLY:
            raise self.cluster.not_found()
        try:
            await self._create()
        except ClusterExistsError:
            # Another process may have created it since.
            if mode == CreateMode.CREATE_ONLY or await self.cluster.find() is None:
                raise

    async def _create(self) -> None:
        # The request continues after an interruption: otherwise it is unknown whether there is a cluster to delete.
        creation = asyncio.ensure_future(self.cluster.create(self._settings.manifest()))
        try:
            await asyncio.shield(creation)
        finally:
            await asyncio.wait([creation], timeout=_CLEANUP)
            if creation.cancel():
                logger.warning(
                    "the DaskCluster %s may have been created: Kubernetes did not answer in time", self.cluster.name
                )
            else:
                self.created = not creation.cancelled() and creation.exception() is None

    def _set_connection_args(self) -> None:
        """Set `connection_args`. Raises ValidationError without the scheduler's protocol, or a certificate for it."""
        try:
            get_backend(self._protocol).get_connector()
        except (ImportError, RuntimeError, TypeError, ValueError) as error:
            raise ValidationError(
                f"the scheduler of {self.cluster.name} speaks {self._protocol}, and Dask cannot speak it here: {error}"
            ) from error
        self.connection_args = self._security.get_connection_args("client")
        if self._protocol in listening.ENCRYPTED and not self.connection_args.get("ssl_context"):
            raise ValidationError(
                f"the scheduler of {self.cluster.name} uses TLS: pass security=distributed.Security(tls_ca_file=…, "
                "tls_client_cert=…, tls_client_key=…), or set distributed.comm.tls in Dask's configuration"
            )

    @property
    def _protocol(self) -> str:
        said = listening.protocol(self.snapshot.cluster or {})
        # A client that requires encryption uses no other protocol. Its scheduler may have it from a file.
        return "tls" if self._security.require_encryption and said not in listening.ENCRYPTED else said

    async def _listen(self, listener: Listener) -> None:
        """Start the feed of workers, with retries until the Service routes to the scheduler's Pod."""
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
        clear = self._protocol != listening.protocol(self.snapshot.cluster or {})
        hint = ", and whether it uses TLS, which its command does not say but `security` requires" if clear else ""
        return SchedulerUnreachableError(
            f"the scheduler of {self.cluster.name} runs but does not answer at {self.address} ({why}): check its log "
            f"and your network policies{hint}"
        )


async def _log_failure(step: Awaitable[object], description: str) -> None:
    """Await a step, and only log its error: the caller is about to raise another."""
    try:
        await step
    except (DaskKubernetesError, OSError) as error:
        logger.warning("could not %s: %s", description, error)
