"""The declared state, cluster by cluster, and its manifests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, dask_job, worker_group

from dask_operator import names

BACKOFF_LIMIT = 0
"""Allowed failures of a program. Fake nodes end Pods by name, and so would end a successor as well."""
REVISION = "REVISION"
"""The environment variable that tells edited templates from earlier ones."""


@dataclass
class Wish:
    """A cluster, or a job with its own. `replicas`: of the DaskCluster.

    `workers` and `revisions`: by group; `revisions` has the scheduler's too, under its own name. `bounds`: those of the
    default group's autoscaler. `failures`: of the job's program so far; `ended`: the job's final status.
    """

    name: str
    uid: str
    replicas: int
    job: bool = False
    workers: dict[str, int] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    bounds: tuple[int, int] | None = None
    failures: int = 0
    ended: str = ""

    def __post_init__(self) -> None:
        self.workers[self.default] = self.replicas
        self.revisions |= {self.default: 0, names.scheduler(self.name): 0}

    @property
    def default(self) -> str:
        return names.default_group(self.name)

    @property
    def extra(self) -> list[str]:
        """The groups added by users."""
        return [group for group in self.workers if group != self.default]


@dataclass(frozen=True)
class Manifests:
    """Manifests for fake nodes. `port`: on loopback, where the stand-ins for the schedulers answer."""

    namespace: str
    port: int

    def cluster(self, name: str, workers: int) -> dict[str, Any]:
        return self._placed(self._with_scheduler(dask_cluster(name, workers, pods=ON_FAKE_NODES)))

    def job(self, name: str, workers: int) -> dict[str, Any]:
        job = dask_job(name, workers, pods=ON_FAKE_NODES, backoffLimit=BACKOFF_LIMIT)
        self._with_scheduler(job["spec"]["cluster"])
        return self._placed(job)

    def group(self, name: str, cluster: str, workers: int) -> dict[str, Any]:
        return self._placed(worker_group(name, cluster, workers, ON_FAKE_NODES))

    def autoscaler(self, cluster: str, bounds: tuple[int, int]) -> dict[str, Any]:
        return self._placed(dask_autoscaler(cluster, cluster, *bounds))

    def revised(self, role: str, revision: int) -> dict[str, Any]:
        """Return the patch of a DaskCluster or DaskWorkerGroup that gives its Pods of a role this revision."""
        spec: dict[str, Any] = dask_cluster("any", 0, pods=ON_FAKE_NODES)["spec"][role]["spec"]
        spec["containers"][0]["env"] = [{"name": REVISION, "value": str(revision)}]
        return {"spec": {role: {"spec": spec}}}

    def _with_scheduler(self, cluster: dict[str, Any]) -> dict[str, Any]:
        # A headless Service makes the controller ask at the Pod's address; nobody listens at the other port.
        ports = [{"name": "http-dashboard", "port": self.port}, {"name": "tcp-comm", "port": 1}]
        cluster["spec"]["scheduler"]["service"] |= {"clusterIP": "None", "ports": ports}
        return cluster

    def _placed(self, manifest: dict[str, Any]) -> dict[str, Any]:
        manifest["metadata"]["namespace"] = self.namespace
        return manifest
