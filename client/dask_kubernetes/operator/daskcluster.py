"""A DaskCluster in Kubernetes, with its worker groups, autoscaler and Pods."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from dask_kubernetes.exceptions import (
    ClusterExistsError,
    ClusterNotFoundError,
    DaskKubernetesError,
    OperatorNotRespondingError,
    SpecRefusedError,
    ValidationError,
    WorkerGroupExistsError,
    WorkerGroupNotFoundError,
)
from dask_kubernetes.operator.access.errors import AlreadyExistsError
from dask_kubernetes.operator.access.kubernetes import (
    AUTOSCALER,
    CLUSTER,
    GROUP,
    POD,
    SERVICE,
    Kubernetes,
)
from dask_kubernetes.operator.diagnosis import facts
from dask_kubernetes.operator.diagnosis.facts import Snapshot
from dask_kubernetes.operator.manifests import names, spec
from dask_kubernetes.operator.manifests.names import CLUSTER_LABEL, COMPONENT_LABEL, DEFAULT_GROUP, SCHEDULER

Json = Mapping[str, Any]
_POLL = 0.2
_AUTOSCALER_ENDS_WITHIN = 10.0
# The operator creates the default group, at about the time of the scheduler.
_DEFAULT_GROUP_EXISTS_WITHIN = 10.0


class DaskCluster:
    """A DaskCluster by its name. `uid` is set once it is found or created; a later namesake is not touched."""

    def __init__(self, kubernetes: Kubernetes, name: str, namespace: str) -> None:
        self.kubernetes = kubernetes
        self.name = name
        self.namespace = namespace
        self.uid: str | None = None

    @property
    def scheduler_labels(self) -> dict[str, str]:
        return {CLUSTER_LABEL: self.name, COMPONENT_LABEL: SCHEDULER}

    async def find(self) -> Json | None:
        """Return the object, None if it does not exist."""
        found = await self.kubernetes.get(CLUSTER, self.name, self.namespace)
        if found and self.uid is None:
            self.uid = found["metadata"]["uid"]
        return found if found and found["metadata"]["uid"] == self.uid else None

    async def read(self) -> Json:
        """Return the object. Raises ClusterNotFoundError."""
        found = await self.find()
        if found is None:
            raise self.not_found()
        return found

    async def create(self, manifest: Json) -> None:
        """Create the DaskCluster. Raises ClusterExistsError, SpecRefusedError and other DaskKubernetesErrors."""
        try:
            made = await self.kubernetes.create(CLUSTER, manifest, self.namespace)
        except AlreadyExistsError as error:
            raise ClusterExistsError(
                f"the DaskCluster {self.name} already exists in the namespace {self.namespace}: choose another name, "
                f"or connect to it with KubeCluster.from_name({self.name!r}, namespace={self.namespace!r})"
            ) from error
        self.uid = made["metadata"]["uid"]

    async def snapshot(self) -> Snapshot:
        """Return the DaskCluster with its groups, Service, Pods and autoscaler. Raises ClusterNotFoundError."""
        of_cluster = {CLUSTER_LABEL: self.name}
        cluster, groups, service, pods, autoscalers = await asyncio.gather(
            self.read(),
            self.groups(),
            self.kubernetes.get(SERVICE, f"{self.name}-scheduler", self.namespace),
            self.kubernetes.list(POD, self.namespace, of_cluster),
            self._autoscalers(),
        )
        default = self._autoscaler_of(autoscalers, DEFAULT_GROUP)
        # Another owner's Service may have the same name.
        own = service if service and self._owns(service) else None
        return Snapshot(cluster, tuple(groups), own, tuple(pods), default)

    async def groups(self) -> list[dict[str, Any]]:
        """Return the worker groups. Groups made by other tools have no label, so the whole namespace is listed."""
        groups = await self.kubernetes.list(GROUP, self.namespace)
        return [group for group in groups if group["spec"].get("cluster") == self.name]

    async def scale(self, n: int, worker_group: str = DEFAULT_GROUP) -> None:
        """Set a group's number of workers, and delete the autoscaler that controlled it.

        Raises WorkerGroupNotFoundError, ClusterNotFoundError.
        """
        group = await self._existing_group(worker_group)
        for autoscaler in self._of_group(await self._autoscalers(), worker_group):
            await self._end_autoscaler(autoscaler["metadata"]["name"])
        patch = {"spec": {"worker": {"replicas": n}}}
        if await self.kubernetes.patch(GROUP, group, self.namespace, patch) is None:
            await self._existing_group(worker_group)

    async def suspend(self, timeout: float) -> None:
        """Suspend the cluster, and wait until its status says so.

        Raises ClusterNotFoundError, SpecRefusedError if its definition cannot suspend, and OperatorNotRespondingError
        after `timeout` seconds.
        """
        patched = await self._set_suspended(suspended=True)
        if patched["spec"].get("suspend") is not True:
            raise SpecRefusedError(
                f"DaskCluster {self.name} was not suspended: the definition of DaskClusters in this Kubernetes has no "
                "spec.suspend; upgrade the chart of the operator"
            )
        try:
            async with asyncio.timeout(timeout):
                while facts.condition(await self.read(), "Suspended").get("status") != "True":  # noqa: ASYNC110
                    await asyncio.sleep(_POLL)
        except TimeoutError as error:
            message = f"no operator has suspended DaskCluster {self.name} within {timeout:g} s: check that it runs"
            raise OperatorNotRespondingError(message) from error

    async def resume(self) -> None:
        """Let a suspended cluster start again. Raises ClusterNotFoundError."""
        await self._set_suspended(suspended=False)

    async def _set_suspended(self, *, suspended: bool) -> Json:
        patched = await self.kubernetes.patch(CLUSTER, self.name, self.namespace, {"spec": {"suspend": suspended}})
        if patched is None:
            raise self.not_found()
        return patched

    async def adapt(self, minimum: int | None, maximum: int | None) -> None:
        """Create or update the autoscaler of the default group. Raises ClusterNotFoundError."""
        await self.read()
        manifest = spec.make_autoscaler(self.name, minimum, maximum)
        existing = self._autoscaler_of(await self._autoscalers(), DEFAULT_GROUP)
        name = existing["metadata"]["name"] if existing else self.name
        bounds = {"minimum": None, "maximum": None} | manifest["spec"]
        if not existing or await self.kubernetes.patch(AUTOSCALER, name, self.namespace, {"spec": bounds}) is None:
            await self._create_autoscaler(manifest)

    async def add_group(self, manifest: Json) -> None:
        """Create a worker group. Raises WorkerGroupExistsError, ClusterNotFoundError."""
        await self.read()
        try:
            await self.kubernetes.create(GROUP, manifest, self.namespace)
        except AlreadyExistsError as error:
            name = manifest["metadata"]["name"]
            raise WorkerGroupExistsError(
                f"the worker group {name} already exists in the namespace {self.namespace}: choose another name, scale "
                "the existing group, or delete it with delete_worker_group first"
            ) from error

    async def delete_group(self, worker_group: str) -> None:
        """Delete a worker group. Raises WorkerGroupNotFoundError, ClusterNotFoundError."""
        await self.kubernetes.delete(GROUP, await self._existing_group(worker_group), self.namespace)

    async def logs(self) -> dict[str, str]:
        """Return the log of each Pod by the Pod's name. Raises NotPermittedError, ClusterNotFoundError."""
        pods = await self.kubernetes.list(POD, self.namespace, {CLUSTER_LABEL: self.name})
        if not pods:
            await self.read()
        texts = await asyncio.gather(*(self.log(pod) for pod in pods))
        return {pod["metadata"]["name"]: text for pod, text in zip(pods, texts, strict=True)}

    async def log(self, pod: Json, lines: int | None = None, container: str | None = None) -> str:
        """Return the log of a container, by default the Pod's first; of its previous run if this one has none yet."""
        name, container = pod["metadata"]["name"], container or pod["spec"]["containers"][0]["name"]
        text = await self.kubernetes.log(name, container, self.namespace, lines)
        return text or await self.kubernetes.log(name, container, self.namespace, lines, previous=True)

    async def last_lines(self, pod: str, container: str | None, snapshot: Snapshot, lines: int = 20) -> str:
        """Return the last lines of a container's log, empty if they cannot be read."""
        found = next((each for each in snapshot.pods if each["metadata"]["name"] == pod), None)
        try:
            return await self.log(found, lines, container) if found else ""
        except DaskKubernetesError:
            return ""

    async def delete(self, timeout: float) -> bool:
        """Delete the DaskCluster, wait until it is gone, and return whether it existed.

        Kubernetes then deletes its Pods in the background. Raises TimeoutError after `timeout` seconds.
        """
        if not await self.kubernetes.delete(CLUSTER, self.name, self.namespace, self.uid):
            return False
        try:
            async with asyncio.timeout(timeout):
                while await self.find():  # noqa: ASYNC110 - no event of this process tells
                    await asyncio.sleep(_POLL)
        except TimeoutError as error:
            message = f"the DaskCluster {self.name} still exists {timeout:g} s after its deletion: see its finalizers"
            raise TimeoutError(message) from error
        return True

    def group_name(self, worker_group: str) -> str:
        """Return the name of the DaskWorkerGroup."""
        return names.worker_group(self.name, worker_group)

    def _owns(self, obj: Json) -> bool:
        return any(owner["uid"] == self.uid for owner in obj["metadata"].get("ownerReferences") or [])

    async def _end_autoscaler(self, name: str) -> None:
        """Delete an autoscaler, and wait while a finalizer holds it: an operator may still follow it until then."""
        await self.kubernetes.delete(AUTOSCALER, name, self.namespace)
        with suppress(TimeoutError):
            async with asyncio.timeout(_AUTOSCALER_ENDS_WITHIN):
                while await self.kubernetes.get(AUTOSCALER, name, self.namespace):  # noqa: ASYNC110
                    await asyncio.sleep(_POLL)

    async def _create_autoscaler(self, manifest: Json) -> None:
        try:
            await self.kubernetes.create(AUTOSCALER, manifest, self.namespace)
        except AlreadyExistsError as error:
            raise ValidationError(
                f"the DaskAutoscaler {manifest['metadata']['name']} belongs to another cluster or group: delete it "
                "with `kubectl delete daskautoscaler`"
            ) from error

    async def _autoscalers(self) -> list[dict[str, Any]]:
        autoscalers = await self.kubernetes.list(AUTOSCALER, self.namespace)
        return [each for each in autoscalers if each["spec"].get("cluster") == self.name]

    def _of_group(self, autoscalers: list[dict[str, Any]], worker_group: str) -> list[dict[str, Any]]:
        default, wanted = self.group_name(DEFAULT_GROUP), self.group_name(worker_group)
        return [each for each in autoscalers if (each["spec"].get("workerGroup") or default) == wanted]

    def _autoscaler_of(self, autoscalers: list[dict[str, Any]], worker_group: str) -> dict[str, Any] | None:
        return next(iter(self._of_group(autoscalers, worker_group)), None)

    async def _existing_group(self, worker_group: str) -> str:
        """Return the DaskWorkerGroup's name, as soon as the default group exists. Raises WorkerGroupNotFoundError.

        Names are ambiguous: the group b-c of the cluster a and the group c of the cluster a-b are both a-b-c.
        """
        name, loop = self.group_name(worker_group), asyncio.get_running_loop()
        deadline = loop.time() + (_DEFAULT_GROUP_EXISTS_WITHIN if worker_group == DEFAULT_GROUP else 0.0)
        while name not in (there := await self._group_names()):
            if loop.time() >= deadline:
                raise self._no_group(worker_group, there)
            await asyncio.sleep(_POLL)
        return name

    async def _group_names(self) -> list[str]:
        await self.read()
        return [group["metadata"]["name"] for group in await self.groups()]

    def _no_group(self, worker_group: str, there: list[str]) -> WorkerGroupNotFoundError:
        known = ", ".join(sorted(each.removeprefix(f"{self.name}-") for each in there)) or "none"
        cause = ". The operator creates this group: check that it runs" if worker_group == DEFAULT_GROUP else ""
        return WorkerGroupNotFoundError(
            f"the cluster {self.name} has no worker group {worker_group!r}: it has {known}{cause}"
        )

    def not_found(self) -> ClusterNotFoundError:
        """Return the error to raise if the DaskCluster does not exist."""
        return ClusterNotFoundError(
            f"there is no DaskCluster {self.name} in the namespace {self.namespace}, or it has been deleted: "
            "`kubectl get daskclusters --all-namespaces` lists the existing ones"
        )
