"""Objects for tests, complete by default; arguments set the fields that a test is about."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from dask_operator import parse
from dask_operator.actions import Action, Create, Delete, Patch, SetStatus
from dask_operator.model import (
    Autoscaler,
    Cluster,
    Demand,
    Deployment,
    Endpoint,
    Failure,
    Group,
    Idleness,
    Job,
    Metadata,
    ObjectRef,
    Observed,
    Pod,
    Problem,
    Registration,
    Sample,
    Service,
    Survey,
    Template,
)

NOON = 1_767_268_800.0
NOON_TEXT = "2026-01-01T12:00:00Z"
NAMESPACE = "default"
CLUSTER_UID = "uid-of-simple"
JOB_UID = "uid-of-job-simple"
GROUP_UID = "uid-of-simple-default"

WORKER_SPEC: dict[str, Any] = {"containers": [{"name": "worker", "image": "dask", "args": ["dask", "worker"]}]}
SCHEDULER_SPEC: dict[str, Any] = {"containers": [{"name": "scheduler", "image": "dask", "args": ["dask", "scheduler"]}]}
SERVICE_SPEC: dict[str, Any] = {
    "type": "ClusterIP",
    "selector": {"dask.org/cluster-name": "simple", "dask.org/component": "scheduler"},
    "ports": [
        {"name": "tcp-comm", "port": 8786, "targetPort": "tcp-comm"},
        {"name": "http-dashboard", "port": 8787, "targetPort": "http-dashboard"},
    ],
}
RUNNER_SPEC: dict[str, Any] = {"containers": [{"name": "job", "image": "dask", "args": ["python", "job.py"]}]}
OWNED_BY_CLUSTER = [
    {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "name": "simple",
        "uid": CLUSTER_UID,
        "controller": True,
        "blockOwnerDeletion": True,
    }
]
"""The owner references of what belongs to the cluster `simple`."""
WORKER_TEMPLATE = Template.of(WORKER_SPEC, Metadata()).hash
"""The template hash of workers in groups without further metadata."""
ENDPOINT = Endpoint("http://10.96.0.7:8787", "tcp://10.96.0.7:8786")


def a_cluster(name: str = "simple", *, workers: int | None = 3, **others: Any) -> Cluster:
    defaults: dict[str, Any] = {
        "namespace": NAMESPACE,
        "uid": f"uid-of-{name}",
        "resource_version": 1,
        "created": NOON - 600.0,
        "generation": 1,
        "worker_spec": WORKER_SPEC,
        "scheduler_spec": SCHEDULER_SPEC,
        "service_spec": SERVICE_SPEC,
    }
    given = defaults | others
    scheduler, service = given["scheduler_spec"], given["service_spec"]
    templates = _templates(given, {"worker": "worker", "scheduler": "scheduler", "service": "scheduler"})
    told = {
        "listening": parse.listening(scheduler),
        "ports": parse.service_ports(service),
        "headless": service.get("clusterIP") == "None",
    }
    return Cluster(name=name, replicas=workers, **told | templates | given)


def a_group(name: str = "simple-default", *, workers: int = 3, owner: str | None = CLUSTER_UID, **others: Any) -> Group:
    defaults: dict[str, Any] = {
        "namespace": NAMESPACE,
        "uid": f"uid-of-{name}",
        "resource_version": 1,
        "created": NOON - 600.0,
        "owners": (owner,) if owner else (),
        "cluster_uid": owner or "",
        "cluster": "simple",
        "generation": 1,
        "copied": str(workers) if name.endswith("-default") else "",
        "template": WORKER_TEMPLATE if name.endswith("-default") else "",
        "worker_spec": WORKER_SPEC,
    }
    given = defaults | others
    return Group(name=name, replicas=workers, **_templates(given, {"worker": "worker"}) | given)


def a_job(name: str = "simple", **others: Any) -> Job:
    """Build a job, ten minutes old, with the specs of its cluster and its runner."""
    defaults: dict[str, Any] = {
        "namespace": NAMESPACE,
        "uid": f"uid-of-job-{name}",
        "resource_version": 1,
        "created": NOON - 600.0,
        "generation": 1,
        "cluster_spec": raw_cluster()["spec"],
        "runner_spec": RUNNER_SPEC,
    }
    given = defaults | others
    policy = given["runner_spec"].get("restartPolicy") or ""
    templates = _templates(given, {"cluster": "cluster", "runner": "runner"})
    return Job(name=name, restart_policy=policy, **templates | given)


def _templates(given: dict[str, Any], parts: Mapping[str, str]) -> dict[str, Template]:
    """Take the specs and metadata of these parts out of `given`; return them as templates."""
    metadata = {of: given.pop(f"{of}_metadata", Metadata()) for of in set(parts.values())}
    return {part: Template.of(given.pop(f"{part}_spec"), metadata[of]) for part, of in parts.items()}


def an_autoscaler(name: str = "simple", *, minimum: int = 1, maximum: int | None = 10, **others: Any) -> Autoscaler:
    """Build an autoscaler of the default group."""
    defaults: dict[str, Any] = {
        "namespace": NAMESPACE,
        "uid": f"uid-of-autoscaler-{name}",
        "resource_version": 1,
        "created": NOON - 600.0,
        "generation": 1,
        "owners": (CLUSTER_UID,),
        "cluster_uid": CLUSTER_UID,
        "cluster": "simple",
        "group": "simple-default",
    }
    return Autoscaler(name=name, minimum=minimum, maximum=maximum, **defaults | others)


def a_demand(*targets: int, every: float = 2.0, until: float = NOON, workers: int = 3, **others: Any) -> Demand:
    """Build the scheduler's targets, the last at `until`, while the default group wanted `workers`."""
    count = len(targets)
    samples = (
        Sample(until - every * (count - 1 - n), target, {"simple-default": workers}) for n, target in enumerate(targets)
    )
    return Demand(until, tuple(samples), **others)


def an_idleness(*, since: float, at: float = NOON, token: float | None = 1.0, **others: Any) -> Idleness:
    return Idleness(at, token, since, **others)


def a_pod(number: int = 0, *, group: str = "simple-default", **others: Any) -> Pod:
    """Build worker `number` of a group, running for ten minutes."""
    defaults: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": f"{group}-worker-{number}",
        "uid": f"uid-of-{group}-worker-{number}",
        "resource_version": 100 + number,
        "created": NOON - 600.0,
        "owners": (f"uid-of-{group}", CLUSTER_UID),
        "cluster": "simple",
        "component": "worker",
        "phase": "Running",
        "ready": True,
        "ip": f"10.0.0.{number + 1}",
        "started": NOON - 600.0,
        "ordinal": number,
        "template": WORKER_TEMPLATE,
    }
    return Pod(group=group, **defaults | others)


def a_pending_pod(number: int = 0, **others: Any) -> Pod:
    defaults: dict[str, Any] = {"phase": "Pending", "ready": False, "ip": "", "started": 0.0}
    return a_pod(number, **defaults | others)


def a_failed_pod(number: int = 0, *, lived: float = 600.0, finished: float = NOON, **others: Any) -> Pod:
    """Build a worker that ended with an error, `lived` seconds after its start."""
    problem = Problem("Error", 'container "worker" ended: exit code 1, Error')
    defaults: dict[str, Any] = {"phase": "Failed", "ready": False, "finished": finished, "started": finished - lived}
    return a_pod(number, **defaults | {"created": finished - lived, "problem": problem} | others)


def a_scheduler_pod(**others: Any) -> Pod:
    defaults: dict[str, Any] = {"name": "simple-scheduler-abc", "uid": "uid-of-scheduler-pod", "ip": "10.0.1.1"}
    defaults |= {"group": "", "component": "scheduler", "owners": ("uid-of-rs",), "ordinal": -1, "template": ""}
    return a_pod(**defaults | others)


def a_runner_pod(**others: Any) -> Pod:
    """Build a job's runner, running for ten minutes."""
    defaults: dict[str, Any] = {"name": "simple-runner", "uid": "uid-of-runner", "ip": "10.0.2.1", "template": ""}
    defaults |= {"group": "", "component": "job-runner", "owners": (JOB_UID,), "ordinal": -1}
    return a_pod(**defaults | others)


def a_failed_runner(*, finished: float = NOON, **others: Any) -> Pod:
    problem = Problem("Error", 'container "job" ended: exit code 1, Error')
    defaults: dict[str, Any] = {"phase": "Failed", "ready": False, "finished": finished, "failures": 1}
    return a_runner_pod(**defaults | {"problem": problem} | others)


def a_service(**others: Any) -> Service:
    defaults: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": "simple-scheduler",
        "uid": "uid-of-service",
        "resource_version": 1,
        "owners": (CLUSTER_UID,),
        "cluster": "simple",
        "cluster_ip": "10.96.0.7",
        "ports": parse.service_ports(SERVICE_SPEC),
        "template": Template.of(SERVICE_SPEC, Metadata()).hash,
    }
    return Service(**defaults | others)


def a_deployment(**others: Any) -> Deployment:
    defaults: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": "simple-scheduler",
        "uid": "uid-of-deployment",
        "resource_version": 1,
        "owners": (CLUSTER_UID,),
        "cluster": "simple",
        "component": "scheduler",
        "template": Template.of(SCHEDULER_SPEC, Metadata()).hash,
    }
    return Deployment(**defaults | others)


def a_worker_deployment(number: int = 0, *, group: str = "simple-default", **others: Any) -> Deployment:
    """Build a worker Deployment as an older operator made it."""
    defaults: dict[str, Any] = {
        "name": f"{group}-worker-{number}",
        "uid": f"uid-of-deployment-{group}-{number}",
        "resource_version": 100 + number,
        "created": NOON - 600.0,
        "owners": (f"uid-of-{group}",),
        "component": "worker",
        "group": group,
        "template": "",
    }
    return a_deployment(**defaults | others)


def a_deployments_pod(number: int = 0, *, group: str = "simple-default", **others: Any) -> Pod:
    """Build the Pod of such a Deployment."""
    name = f"{group}-worker-{number}"
    defaults: dict[str, Any] = {
        "name": f"{name}-5d9f8b-x2x7q",
        "uid": f"uid-of-{name}-pod",
        "owners": (f"uid-of-{name}-replicaset",),
        "ordinal": -1,
        "deployment": name,
        "template": "",
    }
    return a_pod(number, group=group, **defaults | others)


def a_survey(workers: Sequence[Pod] = (), *, at: float = NOON, **others: Any) -> Survey:
    """Build a scheduler's answer in which these workers are registered, idle and without data."""
    return Survey(at, tuple(registered(pod) for pod in workers), **others)


def registered(pod: Pod, *, nbytes: int = 0, tasks: int = 0) -> Registration:
    return Registration(pod.name, f"tcp://{pod.ip}:40000", nbytes, tasks)


def a_failure(reason: str = "Forbidden", *, until: float = NOON + 30.0, attempts: int = 1) -> Failure:
    return Failure(Problem(reason, f"the API server says {reason}"), attempts, until)


def seen(
    pods: int | Sequence[Pod] = 0,
    *,
    groups: Sequence[Group] | None = None,
    scheduler: Pod | None = a_scheduler_pod(),
    service: Service | None = a_service(),
    deployment: Deployment | None = a_deployment(),
    failures: Mapping[ObjectRef, Failure] | None = None,
    **others: Any,
) -> Observed:
    """Build a settled cluster with these worker Pods, or with this number of running ones."""
    workers = tuple(map(a_pod, range(pods))) if isinstance(pods, int) else tuple(pods)
    return Observed(
        deployment=deployment,
        service=service,
        groups=(a_group(),) if groups is None else tuple(groups),
        pods=((scheduler,) if scheduler else ()) + workers,
        failures=failures or {},
        **others,
    )


def changes(actions: Sequence[Action]) -> tuple[Action, ...]:
    """Return the actions that change objects, without those that report."""
    return tuple(action for action in actions if isinstance(action, Create | Patch | Delete))


def statuses(actions: Sequence[Action]) -> dict[str, Mapping[str, Any]]:
    """Return the written statuses, by kind and name."""
    return {f"{a.subject.kind}/{a.subject.name}": a.status for a in actions if isinstance(a, SetStatus)}


def condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    return next(condition for condition in status["conditions"] if condition["type"] == type_)


def raw_object(kind: str, name: str, version: str = "v1", **others: Any) -> dict[str, Any]:
    """Build JSON as the API server returns it."""
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-of-{name}",
        "resourceVersion": "7",
        "creationTimestamp": NOON_TEXT,
        **others.pop("metadata", {}),
    }
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **others}


def raw_cluster(name: str = "simple", *, workers: int = 3, **others: Any) -> dict[str, Any]:
    spec = {
        "worker": {"replicas": workers, "spec": WORKER_SPEC},
        "scheduler": {"spec": SCHEDULER_SPEC, "service": SERVICE_SPEC},
    }
    return raw_object("DaskCluster", name, "kubernetes.dask.org/v1", **{"spec": copy.deepcopy(spec)} | others)


def raw_group(name: str = "simple-default", *, workers: int = 3, **others: Any) -> dict[str, Any]:
    spec = {"cluster": "simple", "worker": {"replicas": workers, "spec": WORKER_SPEC}}
    return raw_object("DaskWorkerGroup", name, "kubernetes.dask.org/v1", **{"spec": spec} | others)


def raw_job(name: str = "simple", *, workers: int = 3, runner: Mapping[str, Any] | None = None, **others: Any) -> Any:
    """Build a DaskJob; `others` are further keys of its spec, but for `metadata`."""
    metadata = {"uid": f"uid-of-job-{name}", **others.pop("metadata", {})}
    cluster = raw_cluster(workers=workers)["spec"]
    spec = {"job": {"spec": {**RUNNER_SPEC, **(runner or {})}}, "cluster": {"spec": cluster}, **others}
    return raw_object("DaskJob", name, "kubernetes.dask.org/v1", metadata=metadata, spec=spec)


def raw_autoscaler(name: str = "simple", **spec: Any) -> dict[str, Any]:
    """Build a DaskAutoscaler; `spec` are keys of its spec, but for `metadata`."""
    metadata = {"uid": f"uid-of-autoscaler-{name}", **spec.pop("metadata", {})}
    spec = {"cluster": "simple", "minimum": 1, "maximum": 10, **spec}
    return raw_object("DaskAutoscaler", name, "kubernetes.dask.org/v1", metadata=metadata, spec=spec)


def raw_pod(number: int = 0, *, group: str = "simple-default", **others: Any) -> dict[str, Any]:
    """Build a worker Pod as it is after its creation."""
    metadata = {
        "labels": {
            "dask.org/cluster-name": "simple",
            "dask.org/component": "worker",
            "dask.org/workergroup-name": group,
        },
        "annotations": {"kubernetes.dask.org/ordinal": str(number)},
        "ownerReferences": [{"apiVersion": "v1", "kind": "DaskWorkerGroup", "name": group, "uid": f"uid-of-{group}"}],
        **others.pop("metadata", {}),
    }
    body = {"metadata": metadata, "spec": WORKER_SPEC, "status": {"phase": "Pending"}} | others
    return raw_object("Pod", f"{group}-worker-{number}", **body)


def raw_service(name: str = "simple-scheduler", **others: Any) -> dict[str, Any]:
    labels = {"dask.org/cluster-name": "simple", "dask.org/component": "scheduler"}
    body = {"metadata": {"labels": labels}, "spec": {**SERVICE_SPEC, "clusterIP": "10.96.0.7"}} | others
    return raw_object("Service", name, **body)


def raw_deployment(name: str = "simple-scheduler", **others: Any) -> dict[str, Any]:
    labels = {"dask.org/cluster-name": "simple", "dask.org/component": "scheduler"}
    return raw_object("Deployment", name, "apps/v1", **{"metadata": {"labels": labels}, "spec": {}} | others)
