"""What users want, cluster by cluster, and the manifests that say so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, dask_job, worker_group

from dask_operator import names

BACKOFF_LIMIT = 0
"""Failures of a program that are borne. Fake nodes end Pods by name, so also the successor of the one they mean."""
REVISION = "REVISION"
"""The environment variable by which edited templates are told from those before."""


@dataclass
class Wish:
    """One cluster, or a job with its own. `replicas`: what the DaskCluster says.

    `workers` and `revisions`: of each group by name, and the scheduler's revision under its own. `bounds`: those of the
    autoscaler that the default group has. `failures`: of the job's program so far; `ended`: how the job did.
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
        """The groups that users have made."""
        return [group for group in self.workers if group != self.default]


@dataclass(frozen=True)
class Manifests:
    """`port`: where on loopback somebody answers for the schedulers."""

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
        """The part of a DaskCluster or DaskWorkerGroup by which its Pods of a role become those of a revision."""
        spec: dict[str, Any] = dask_cluster("any", 0, pods=ON_FAKE_NODES)["spec"][role]["spec"]
        spec["containers"][0]["env"] = [{"name": REVISION, "value": str(revision)}]
        return {"spec": {role: {"spec": spec}}}

    def _with_scheduler(self, cluster: dict[str, Any]) -> dict[str, Any]:
        # Without an address of the Service's own it is asked at its Pod's; and nobody listens at the other port.
        ports = [{"name": "http-dashboard", "port": self.port}, {"name": "tcp-comm", "port": 1}]
        cluster["spec"]["scheduler"]["service"] |= {"clusterIP": "None", "ports": ports}
        return cluster

    def _placed(self, manifest: dict[str, Any]) -> dict[str, Any]:
        manifest["metadata"]["namespace"] = self.namespace
        return manifest
