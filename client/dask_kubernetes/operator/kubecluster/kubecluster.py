"""`KubeCluster`, Dask's cluster object for Kubernetes. A third of this file is the documentation of its public API."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import math
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Self

from dask.utils import parse_timedelta
from distributed import Security
from distributed.core import Status, rpc
from distributed.deploy.cluster import Cluster
from distributed.objects import SchedulerInfo
from distributed.utils import Log, Logs, NoOpAwaitable, format_dashboard_link
from tornado.ioloop import IOLoop

from dask_kubernetes._moved import moved
from dask_kubernetes.exceptions import ClusterNotFoundError, NotPermittedError, ValidationError, WorkersNotReadyError
from dask_kubernetes.operator.diagnosis import status
from dask_kubernetes.operator.diagnosis.facts import Snapshot
from dask_kubernetes.operator.display import Progress, html, panel
from dask_kubernetes.operator.lifetime import Lifetime
from dask_kubernetes.operator.manifests import fields, spec
from dask_kubernetes.operator.manifests.names import DEFAULT_GROUP
from dask_kubernetes.operator.manifests.spec import make_cluster_spec, make_scheduler_spec, make_worker_spec
from dask_kubernetes.operator.session import Session
from dask_kubernetes.operator.settings import CreateMode, Settings, seconds_to_drain
from dask_kubernetes.operator.startup import poll_interval

# Programs import all of these from here.
__all__ = ["CreateMode", "KubeCluster", "make_cluster_spec", "make_scheduler_spec", "make_worker_spec"]

Json = Mapping[str, Any]
_CLEANUP = 30.0
_ANSWERS_WITHIN = 5.0

# Names that were here because the client of dask-kubernetes 2026.3.0 imported them.
__getattr__ = moved(
    __name__,
    dict.fromkeys(("CrashLoopBackOffError", "SchedulerStartupError"), "dask_kubernetes.exceptions")
    | dict.fromkeys(("DaskAutoscaler", "DaskCluster", "DaskWorkerGroup"), "dask_kubernetes.operator._objects")
    | {"validate_cluster_name": "dask_kubernetes.operator.validation"},
)


class KubeCluster(Cluster):
    """A Dask cluster on Kubernetes, whose scheduler and workers are Pods managed by the Dask operator.

    Parameters
    ----------
    name: str, optional
        The cluster's name, or a template for it with ``{user}``, ``{uuid}`` or environment variables in braces. By
        default ``kubernetes.name`` of Dask's configuration. Not used with ``custom_cluster_spec``, which has a name.
    namespace: str, optional
        The cluster's namespace. By default that of this Pod, or of the kubeconfig's context.
    image: str, optional
        The container image of the scheduler and the workers. Its versions of Python and Dask should match those of
        this process.
    n_workers: int, optional
        The initial number of workers; ``scale`` and ``adapt`` change it. By default 0.
    resources: dict, optional
        The resources of the scheduler and of each worker:
        ``{"requests": {"cpu": "1"}, "limits": {"memory": "4Gi"}}``, or ``{"cpu": "1", "memory": "4Gi"}`` for both
        requests and limits.
    env: list[dict] | dict[str, str], optional
        Environment variables of the scheduler and the workers, as a dict or in Kubernetes' format.
    worker_command: list[str] | str, optional
        The command that starts a worker. By default ``dask worker``.
    port_forward_cluster_ip: bool, optional
        Whether to reach the scheduler through the Kubernetes API server. By default only if the scheduler has no
        address that answers and is certain to be its own.
    create_mode: CreateMode, optional
        Whether to create the cluster or connect to an existing one: ``CREATE_OR_CONNECT`` (the default),
        ``CREATE_ONLY`` or ``CONNECT_ONLY``.
    shutdown_on_close: bool, optional
        Whether to delete the cluster when this object is closed or garbage collected, or when Python exits. By default
        only if this object created the cluster.
    idle_timeout: int, optional
        Seconds of idleness after which the operator deletes the cluster. By default never.
    resource_timeout: int, optional
        Seconds to wait for Kubernetes, the operator and the scheduler before raising an error that says what is wrong.
        By default 60.
    scheduler_service_type: str, optional
        ``ClusterIP`` (the default), ``NodePort`` or ``LoadBalancer``.
    custom_cluster_spec: str | dict, optional
        A DaskCluster manifest, or the path of a YAML file with one. Replaces all parameters above that describe the
        cluster.
    scheduler_forward_port: int, optional
        The local port of the dashboard, if it is forwarded. By default any free port.
    jupyter: bool, optional
        Whether the scheduler serves Jupyter, which the image must contain.
    loop: tornado.ioloop.IOLoop, optional
        The event loop to use.
    asynchronous: bool
        Whether this object is used with ``await``, in the running event loop.
    quiet: bool
        Whether to show no progress while the cluster starts.
    security: distributed.Security, optional
        The certificates for a cluster that uses TLS. By default those of Dask's configuration.
    restricted: bool, optional
        Whether Pods comply with Kubernetes' Pod Security Standard ``restricted``: they run as the user 1000, without
        privileges, and without a token of the ServiceAccount. By default True. If False, they run as the user of the
        image, and with the token.
    drain_timeout: int | str, optional
        Seconds within which a worker that leaves ends its running tasks, or a duration such as ``"2 hours"``; 0 to
        wait for none. By default an hour when the operator removes the worker, and the grace period of its Pod when
        anybody else deletes that.
    **kwargs: dict
        Other arguments of ``distributed.deploy.Cluster``.

    Raises
    ------
    DaskKubernetesError
        An error of ``dask_kubernetes.exceptions``, within ``resource_timeout``. A cluster created until then is
        deleted.

    Examples
    --------
    >>> from dask_kubernetes.operator import KubeCluster
    >>> cluster = KubeCluster(name="foo")  # doctest: +SKIP
    >>> cluster.scale(10)  # doctest: +SKIP
    >>> client = cluster.get_client()  # doctest: +SKIP

    See Also
    --------
    KubeCluster.from_name
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        namespace: str | None = None,
        image: str | None = None,
        n_workers: int | None = None,
        resources: Mapping[str, Any] | None = None,
        env: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
        worker_command: Sequence[str] | str | None = None,
        port_forward_cluster_ip: bool | None = None,
        create_mode: CreateMode | str | None = None,
        shutdown_on_close: bool | None = None,
        idle_timeout: int | None = None,
        resource_timeout: int | None = None,
        scheduler_service_type: str | None = None,
        custom_cluster_spec: str | Mapping[str, Any] | None = None,
        scheduler_forward_port: int | None = None,
        jupyter: bool = False,
        loop: IOLoop | None = None,
        asynchronous: bool = False,
        quiet: bool = False,
        security: Security | None = None,
        restricted: bool | None = None,
        drain_timeout: float | str | None = None,
        **kwargs: Any,
    ) -> None:
        _validate(security, asynchronous=asynchronous, quiet=quiet, others=kwargs)
        self._settings = settings = Settings.of(
            name=name,
            namespace=namespace,
            image=image,
            n_workers=n_workers,
            resources=resources,
            env=env,
            worker_command=worker_command,
            port_forward_cluster_ip=port_forward_cluster_ip,
            create_mode=create_mode,
            shutdown_on_close=shutdown_on_close,
            idle_timeout=idle_timeout,
            resource_timeout=resource_timeout,
            scheduler_service_type=scheduler_service_type,
            custom_cluster_spec=custom_cluster_spec,
            scheduler_forward_port=scheduler_forward_port,
            jupyter=jupyter,
            restricted=restricted,
            drain_timeout=drain_timeout,
        )
        self.namespace = settings.namespace
        self.image = settings.image
        self.n_workers = settings.n_workers
        self.resources = settings.resources
        self.env = settings.env
        self.worker_command = settings.worker_command
        self.port_forward_cluster_ip = settings.port_forward_cluster_ip
        self.create_mode = settings.create_mode
        self.shutdown_on_close = settings.shutdown_on_close
        self.idle_timeout = settings.idle_timeout
        self.scheduler_service_type = settings.scheduler_service_type
        self.scheduler_forward_port = settings.scheduler_forward_port
        self.jupyter = settings.jupyter
        self.security = security or Security()
        self._session: Session | None = None
        self._lifetime: Lifetime | None = None
        self._ended = threading.Event()
        self._closing = threading.Lock()
        super().__init__(name=settings.name, loop=loop, asynchronous=asynchronous, quiet=quiet, **kwargs)
        if not self.called_from_running_loop:
            self._loop_runner.start()
            self._start_and_wait()

    @classmethod
    def from_name(cls, name: str, **kwargs: Any) -> Self:
        """Connect to an existing cluster, whoever created it. Closing this object does not delete the cluster.

        Parameters
        ----------
        name: str
            The DaskCluster's name.
        **kwargs: dict
            Other arguments of ``KubeCluster``.

        Raises
        ------
        ClusterNotFoundError
            If the cluster does not exist.

        Examples
        --------
        >>> cluster = KubeCluster.from_name("simple")  # doctest: +SKIP
        """
        return cls(name=name, **{"create_mode": CreateMode.CONNECT_ONLY, "shutdown_on_close": False, **kwargs})

    def scale(self, n: int, worker_group: str = DEFAULT_GROUP) -> Any:
        """Set the number of workers in a group.

        The operator starts workers, or stops them once they have ended their tasks and handed over their results.
        Scaling ends the group's adaptive mode.

        Parameters
        ----------
        n: int
            The number of workers.
        worker_group: str
            The group's name.

        Raises
        ------
        WorkerGroupNotFoundError
            If the group does not exist; the message lists the existing ones.
        ValidationError
            If ``n`` is not a whole number from 0 to 10,000.

        Examples
        --------
        >>> cluster.scale(10)  # doctest: +SKIP
        >>> cluster.scale(7, worker_group="highmem")  # doctest: +SKIP
        """
        return self.sync(self._scale, fields.worker_count("n", n, fields.MOST_WORKERS), worker_group)

    async def _scale(self, n: int, worker_group: str) -> None:
        session = self._opened()
        await session.cluster.scale(n, worker_group)
        await session.refresh()

    def adapt(self, minimum: int | None = None, maximum: int | None = None) -> Any:  # type: ignore[override]
        """Scale the default group by the scheduler's load, until ``scale`` is called.

        Parameters
        ----------
        minimum: int, optional
            The smallest number of workers. By default 0.
        maximum: int, optional
            The largest number of workers. By default unlimited.

        Raises
        ------
        ValidationError
            If a bound is not a whole number of workers, or ``minimum`` is greater than ``maximum``.

        Examples
        --------
        >>> cluster.adapt(minimum=1, maximum=10)  # doctest: +SKIP
        """
        least, most = fields.optional_count("minimum", minimum), fields.optional_count("maximum", maximum)
        return self.sync(self._adapt, least, most)

    async def _adapt(self, minimum: int | None, maximum: int | None) -> None:
        session = self._opened()
        await session.cluster.adapt(minimum, maximum)
        await session.refresh()

    def suspend(self) -> Any:
        """End all Pods of the cluster, with the results that they hold, until ``resume`` is called.

        The DaskCluster stays, with its Service and its numbers of workers. Clients lose their connection.

        Raises
        ------
        ClusterNotFoundError
            If the DaskCluster does not exist any more.
        SpecRefusedError
            If the operator's definitions are older than suspension.
        OperatorNotRespondingError
            If no operator has suspended it within ``resource_timeout`` seconds.

        Examples
        --------
        >>> cluster.suspend()  # doctest: +SKIP
        >>> cluster.resume()  # doctest: +SKIP
        """
        return self.sync(self._suspend)

    async def _suspend(self) -> None:
        await self._opened().suspend()

    def resume(self) -> Any:
        """Start a suspended cluster as a new one, and wait for its scheduler. A running cluster stays as it is.

        Raises
        ------
        SchedulerStartupError
            If the scheduler does not start within ``resource_timeout`` seconds; the message says why.
        ClusterNotFoundError
            If the DaskCluster does not exist any more.
        """
        return self.sync(self._resume)

    async def _resume(self) -> None:
        await self._opened().resume()

    def add_worker_group(
        self,
        name: str | None = None,
        n_workers: int = 3,
        image: str | None = None,
        resources: Mapping[str, Any] | None = None,
        worker_command: Sequence[str] | str | None = None,
        env: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
        custom_spec: Json | None = None,
        *,
        drain_timeout: float | str | None = None,
    ) -> Any:
        """Add a group of workers.

        Its defaults are the image, resources, command, environment and drain timeout of the default group.

        Parameters
        ----------
        name: str, optional
            The group's name. By default the name in ``custom_spec``, or the first free of group-1, group-2, ….
        n_workers: int
            The number of workers; ``scale(n, worker_group=name)`` changes it.
        image: str, optional
            The container image.
        resources: dict, optional
            The resources of each worker, as in ``KubeCluster``.
        worker_command: list[str] | str, optional
            The command that starts a worker.
        env: list[dict] | dict[str, str], optional
            Environment variables of the workers, as in ``KubeCluster``.
        custom_spec: dict, optional
            The result of ``make_worker_spec``, or a DaskWorkerGroup manifest. Replaces all other parameters except
            ``name``.
        drain_timeout: int | str, optional
            The time within which a worker that leaves ends its running tasks, as in ``KubeCluster``.

        Raises
        ------
        WorkerGroupExistsError
            If a group with this name exists.

        Examples
        --------
        >>> cluster.add_worker_group("highmem", n_workers=2, resources={"memory": "64Gi"})  # doctest: +SKIP
        """
        return self.sync(
            self._add_worker_group,
            name,
            n_workers=fields.optional_count("n_workers", n_workers, fields.MOST_WORKERS),
            image=image,
            resources=resources,
            worker_command=worker_command,
            env=env,
            custom_spec=custom_spec,
            drain_timeout=seconds_to_drain(drain_timeout),
        )

    async def _add_worker_group(self, name: str | None, custom_spec: Json | None, **group: Any) -> None:
        session = self._opened()
        cluster = await session.cluster.read()
        name = name or await self._group_name(custom_spec)
        if isinstance(custom_spec, Mapping) and custom_spec.get("kind") == "DaskWorkerGroup":
            custom_spec = custom_spec["spec"]["worker"]
        await session.cluster.add_group(spec.make_additional_group(cluster, name, **group, custom_spec=custom_spec))
        await session.refresh()

    async def _group_name(self, custom_spec: Json | None) -> str:
        """Return the name of a DaskWorkerGroup manifest, or else the first free name."""
        cluster = self._opened().cluster
        metadata = custom_spec.get("metadata") if isinstance(custom_spec, Mapping) else None
        if own := (metadata or {}).get("name"):
            return str(own).removeprefix(cluster.group_name(""))
        taken = {group["metadata"]["name"] for group in await cluster.groups()}
        candidates = (f"group-{number}" for number in range(1, len(taken) + 2))
        return next(name for name in candidates if cluster.group_name(name) not in taken)

    def delete_worker_group(self, name: str) -> Any:
        """Delete a group. Its workers hand over their results before they stop.

        Parameters
        ----------
        name: str
            The group's name.

        Raises
        ------
        WorkerGroupNotFoundError
            If the group does not exist.

        Examples
        --------
        >>> cluster.delete_worker_group("highmem")  # doctest: +SKIP
        """
        return self.sync(self._delete_worker_group, name)

    async def _delete_worker_group(self, name: str) -> None:
        session = self._opened()
        await session.cluster.delete_group(name)
        await session.refresh()

    def get_logs(self) -> Any:  # type: ignore[override]
        """Return the log of each Pod, by the Pod's name.

        Without the permission to read Pods' logs, return the recent logs that Dask keeps: the scheduler's under
        ``Scheduler``, each worker's under its address.

        Examples
        --------
        >>> for name, log in cluster.get_logs().items():  # doctest: +SKIP
        ...     print(name, log)
        """
        return self.sync(self._get_logs)

    logs = get_logs

    async def _get_logs(self) -> Logs:  # type: ignore[override]
        try:
            return Logs({name: Log(text) for name, text in (await self._opened().cluster.logs()).items()})
        except NotPermittedError:
            kept: Logs = await super()._get_logs(cluster=False)
            return kept

    async def _wait_for_workers(self, n_workers: int = 0, timeout: float | None = None) -> None:
        loop = asyncio.get_running_loop()
        limit = math.inf if timeout is None else float(parse_timedelta(timeout))
        begun, waited = loop.time(), 0.0
        with Progress(f"Waiting for {n_workers} workers of {self.name}", self.quiet) as progress:
            while (running := await self._running_workers()) < n_workers:
                snapshot = await self._opened().refresh()
                progress.update(self._startup(), f"{running} of {n_workers} workers run")
                waited = loop.time() - begun
                if waited > limit:
                    problem = status.startup(snapshot, running).problem
                    raise WorkersNotReadyError(running, n_workers, limit, problem.message if problem else "")
                await asyncio.sleep(poll_interval(waited))
            if waited:
                progress.done(f"Cluster {self.name} has {running} workers")

    def close(self, timeout: float = 3600) -> Any:  # type: ignore[override]
        """Close the connection to the cluster, and delete the cluster if ``shutdown_on_close``.

        Parameters
        ----------
        timeout: float
            Seconds to wait until the cluster is deleted.

        Raises
        ------
        TimeoutError
            If the cluster still exists after ``timeout``.
        """
        if self.asynchronous:
            return NoOpAwaitable() if self.status == Status.closed else self._close(timeout)
        with self._closing:
            if self.status != Status.closed:
                self.sync(self._close, timeout=timeout)
                self._loop_runner.stop()
        return None

    def sync(self, func: Any, *args: Any, asynchronous: Any = None, callback_timeout: Any = None, **kwargs: Any) -> Any:
        """Run a coroutine function in the cluster's event loop. Raises ClusterNotFoundError once closed."""
        if self.status == Status.closed:
            raise self._not_open()
        options = {"asynchronous": asynchronous, "callback_timeout": callback_timeout}
        return super().sync(func, *args, **options, **kwargs)

    async def _close(self, timeout: float = 3600) -> None:
        if self.status == Status.closed:
            return
        session = self._session
        try:
            await super()._close()
            if session and self.shutdown_on_close:
                await session.cluster.delete(timeout)
            if self._lifetime:
                self._lifetime.cancel()
        finally:
            if session:
                await session.close()

    @property
    def dashboard_link(self) -> str:
        """The URL of the dashboard, from the template ``distributed.dashboard.link``."""
        return str(format_dashboard_link(*self._session.dashboard)) if self._session else ""

    @property
    def forwarded_dashboard_port(self) -> str:
        """The port of the dashboard's URL, as programs for the client of dask-kubernetes 2026.3.0 read it."""
        return str(self._session.dashboard[1]) if self._session else ""

    @property
    def jupyter_link(self) -> str:
        """The URL of Jupyter. Raises ValidationError if the scheduler does not serve it."""
        if self.jupyter:
            return self.dashboard_link.replace("/status", "/jupyter/lab")
        raise ValidationError(f"the scheduler of {self.name} serves no Jupyter: create the cluster with jupyter=True")

    @property
    def requested(self) -> set[str]:
        """The names of the workers that have a Pod, whether they have started or not."""
        if self._session is None or self.status != Status.running:
            return set()
        if not self.asynchronous:
            self.sync(self._session.refresh)
        return set(status.worker_names(self._session.snapshot))

    @property
    def plan(self) -> set[str]:
        """The names of the workers in `requested`, as the operator names workers only when it creates their Pods."""
        return self.requested

    @property
    def observed(self) -> set[str]:
        """The names of the workers that the scheduler knows."""
        return {worker["name"] for worker in self.scheduler_info["workers"].values()}

    def __await__(self) -> Any:
        async def started() -> KubeCluster:
            if self.status == Status.created:
                await self._start()
            return self

        return started().__await__()

    def __enter__(self) -> Self:
        if self.asynchronous:
            raise TypeError("an asynchronous KubeCluster needs `async with`")
        return self

    async def generate_rich_output(self) -> Any:
        """Return the state of the cluster as a rich panel."""
        await self._opened().refresh()
        return panel(self._startup(), f"KubeCluster {self.name}", "")

    def _repr_html_(self, cluster_status: str | None = None) -> Any:
        if cluster_status is None and self._session:
            cluster_status = html(self._startup())
        return super()._repr_html_(cluster_status=cluster_status)

    def _scaling_status(self) -> str:
        known = self._session.snapshot if self._session else None
        mode = "Adaptive" if known and known.autoscaler else "Manual"
        workers, wanted = len(self.scheduler_info["workers"]), status.requested(known) if known else 0
        count = str(workers) if workers == wanted else f"{workers} / {wanted}"
        return f"<table><tr><td>Scaling mode: {mode}</td></tr><tr><td>Workers: {count}</td></tr></table>"

    def _log(self, log: str) -> None:
        quiet, self.quiet = self.quiet, True
        super()._log(log)
        self.quiet = quiet

    def _start_and_wait(self) -> None:
        try:
            self.sync(self._start)
        except BaseException:
            # After Ctrl-C, the event loop has yet to delete the cluster.
            self._ended.wait(_CLEANUP)
            self._loop_runner.stop()
            raise

    async def _start(self) -> None:
        self.status = Status.starting
        try:
            with Progress(f"KubeCluster {self.name}", self.quiet) as progress:
                self._session = session = await Session.open(self._settings, self, self.security, progress.update)
                self._adopt(session)
                progress.ready(self.name, self.dashboard_link)
        except BaseException:
            if self._session:
                await self._session.abandon()
            if self._lifetime:
                self._lifetime.cancel()
            # Nothing is left to close.
            self.status = Status.closed
            raise
        finally:
            self._ended.set()

    def _adopt(self, session: Session) -> None:
        """Set up this object for an opened session, and the cluster's deletion with this object."""
        self.namespace = session.cluster.namespace
        if self.shutdown_on_close is None:
            self.shutdown_on_close = session.created
        if not session.created:
            self._describe(session.snapshot.cluster or {})
        self.scheduler_comm = rpc(session.address, connection_args=session.connection_args)
        if self.shutdown_on_close:
            self._lifetime = Lifetime(self, session.cluster, session.threadsafe_close())
        else:
            weakref.finalize(self, session.threadsafe_close()).atexit = False
        self.status = Status.running
        self._log(f"Ready, dashboard available at {self.dashboard_link}")

    def _describe(self, cluster: Json) -> None:
        """Set the attributes to those of an existing cluster."""
        worker = cluster["spec"]["worker"]
        container = worker["spec"]["containers"][0]
        self.image = container.get("image")
        self.n_workers = worker.get("replicas")
        self.resources = container.get("resources")
        self.env = container.get("env")
        self.jupyter = status.uses_jupyter(cluster)

    def _opened(self) -> Session:
        if self._session is None or self.status != Status.running:
            raise self._not_open()
        return self._session

    def _scheduler(self) -> Any:
        self._opened()
        return self.scheduler_comm

    def _not_open(self) -> ClusterNotFoundError:
        if self.status in (Status.created, Status.starting):
            return ClusterNotFoundError(
                f"the KubeCluster {self.name} has not started: `await` it first, or use it with `async with`"
            )
        return ClusterNotFoundError(
            f"the KubeCluster {self.name} is {self.status.name}: create another, or connect to it with from_name"
        )

    def _startup(self) -> status.Startup:
        known = self._session.snapshot if self._session else Snapshot(None)
        return status.startup(known, len(self.scheduler_info["workers"]))

    async def _running_workers(self) -> int:
        # The feed reports workers that join and leave, but not when a worker is ready.
        scheduler = self._scheduler()
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN):
                self.scheduler_info = SchedulerInfo(await scheduler.identity())
        except OSError:
            # The scheduler may be about to be replaced. A deleted cluster is noticed in Kubernetes.
            return 0
        workers = self.scheduler_info["workers"].values()
        return sum(worker.get("status") == Status.running.name for worker in workers)


def _validate(security: object, *, asynchronous: object, quiet: object, others: Mapping[str, object]) -> None:
    """Raise an error if an argument that is no setting is wrong."""
    fields.flag("asynchronous", asynchronous)
    fields.flag("quiet", quiet)
    if security is not None and not isinstance(security, Security):
        raise ValidationError(
            f"security is {security!r}: it must be a distributed.Security(tls_ca_file=…, tls_client_cert=…, "
            "tls_client_key=…), or None for the files in Dask's configuration."
        )
    if unknown := min(others.keys() - inspect.signature(Cluster).parameters.keys(), default=None):
        likely = difflib.get_close_matches(unknown, inspect.signature(KubeCluster).parameters, n=1)
        hint = f": did you mean {likely[0]}?" if likely else ""
        raise TypeError(f"KubeCluster has no argument {unknown!r}{hint}")
