"""DaskCluster manifests from the template of a worker's Pod."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dask_kubernetes.classic.pods import DEATH_TIMEOUT, NAME, make_pod_from_dict, merged, without_empty
from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests.fields import Manifest, env_list, resource_requirements, without_nulls
from dask_kubernetes.operator.manifests.spec import (
    DEFAULT_IMAGE,
    make_cluster_spec,
    scheduler_ports_and_probes,
    worker_args,
)
from dask_kubernetes.operator.settings import Settings

# Commands that start a worker or a scheduler, and therefore accept Dask's options.
_WORKER = (("dask", "worker"), ("dask", "cuda", "worker"), ("dask-cuda-worker",), ("-m", "distributed.cli.dask_worker"))
_SCHEDULER = (("dask", "scheduler"), ("-m", "distributed.cli.dask_scheduler"))
_OLD_OPTIONS = {"--bokeh": "--dashboard", "--no-bokeh": "--no-dashboard", "--bokeh-port": "--dashboard-address"}
# Fields of the workers' Pod without which the scheduler's Pod might not run at all.
_SHARED_WITH_SCHEDULER = (
    *("automountServiceAccountToken", "imagePullSecrets", "nodeSelector", "securityContext", "serviceAccountName"),
    "tolerations",
)
# Fields of a worker's Pod that no Deployment may have, and the scheduler's Pod is one's.
_NOT_OF_SCHEDULER = ("activeDeadlineSeconds", "restartPolicy")
_AFFINITIES = ("none", "preferred", "required")


def manifest(
    template: Mapping[str, Any],
    settings: Settings,
    scheduler_template: Mapping[str, Any] | None = None,
    affinity: str = "preferred",
) -> Manifest:
    """Return a DaskCluster whose workers are copies of a Pod. Without its own template, the scheduler resembles them.

    Raises ValidationError if a template or `affinity` is invalid.
    """
    if affinity not in _AFFINITIES:
        raise ValidationError(f"apply_default_affinity is {affinity!r}: it must be one of {', '.join(_AFFINITIES)}.")
    pod = _with_env(make_pod_from_dict(template), settings.env)
    cluster = make_cluster_spec(
        settings.name,
        n_workers=settings.n_workers,
        scheduler_service_type=settings.scheduler_service_type,
        idle_timeout=settings.idle_timeout,
        drain_timeout=settings.drain_timeout,
        jupyter=settings.jupyter,
        # The templates say how their Pods run.
        restricted=False,
    )
    worker, scheduler = cluster["spec"]["worker"], cluster["spec"]["scheduler"]
    worker |= _metadata(pod) | {"spec": _with_placement(_worker_pod(pod["spec"]), "worker", affinity)}
    own = scheduler["spec"]["containers"][0]
    if scheduler_template is None:
        scheduler |= {"spec": _with_placement(_scheduler_beside(pod["spec"], own), "scheduler", affinity)}
        return dict(without_nulls(cluster))
    of_scheduler = _with_env(make_pod_from_dict(scheduler_template), settings.env)
    spec = _scheduler_pod(of_scheduler["spec"], own["args"])
    scheduler |= _metadata(of_scheduler) | {"spec": _with_placement(spec, "scheduler", affinity)}
    return dict(without_nulls(cluster))


def _worker_pod(spec: Manifest) -> Manifest:
    first, *others = spec["containers"]
    return spec | {"containers": [_worker_container(first), *others]}


def _worker_container(container: Manifest) -> Manifest:
    command, args = _words(container, "command"), _words(container, "args")
    if not command + args:
        args = [*worker_args("dask worker"), *DEATH_TIMEOUT]
    elif _contains_command(command + args, _WORKER):
        missing = [option for option in (NAME, DEATH_TIMEOUT) if not _has_option(command + args, option[0])]
        args = [*args, *(word for option in missing for word in option)]
    return {"image": DEFAULT_IMAGE} | container | without_empty(command=command, args=args)


def _scheduler_beside(worker: Manifest, own: Manifest) -> Manifest:
    """Return the spec of a scheduler's Pod with the workers' image, environment and placement."""
    first = worker["containers"][0]
    shared = {
        field: first[field] for field in ("env", "envFrom", "imagePullPolicy", "securityContext") if field in first
    }
    container = own | shared | {"image": first.get("image", DEFAULT_IMAGE)}
    return copy.deepcopy(
        {field: worker[field] for field in _SHARED_WITH_SCHEDULER if field in worker} | {"containers": [container]}
    )


def _scheduler_pod(spec: Manifest, args: Sequence[str]) -> Manifest:
    """Return the spec of a scheduler's Pod from its own template, which may contain a worker's command."""
    first, *others = spec["containers"]
    command, given = _words(first, "command"), _words(first, "args")
    words = without_empty(command=command, args=given if _contains_command(command + given, _SCHEDULER) else list(args))
    ours = scheduler_ports_and_probes()
    taken = {port["containerPort"] for port in ours["ports"]}
    ports = [*(port for port in first.get("ports", ()) if port.get("containerPort") not in taken), *ours["ports"]]
    container = {"image": DEFAULT_IMAGE} | ours | first | words | {"ports": ports}
    kept = {field: value for field, value in spec.items() if field not in _NOT_OF_SCHEDULER}
    return kept | {"containers": [container, *others]}


def _words(container: Mapping[str, Any], field: str) -> list[str]:
    """Return the words of a command or its arguments, with outdated names of Dask's programs and options replaced."""
    words = [_OLD_OPTIONS.get(str(word), str(word)) for word in container.get(field, ())]
    for old in ("dask-worker", "dask-scheduler"):
        # Replace only a program's name, not an option's value as in `--name dask-worker`.
        position = words.index(old) if old in words else -1
        before = words[position - 1] if position > 0 else "--"
        if position >= 0 and (before == "--" or not before.startswith("-")):
            words[position : position + 1] = old.split("-")
    return words


def _contains_command(words: Sequence[str], commands: Iterable[Sequence[str]]) -> bool:
    return any(
        tuple(words[start : start + len(command)]) == tuple(command)
        for command in commands
        for start in range(len(words))
    )


def _has_option(words: Iterable[str], option: str) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in words)


def _metadata(pod: Mapping[str, Any]) -> Manifest:
    """Return the labels and annotations of a Pod, for the scheduler or worker part of a DaskCluster."""
    metadata = pod.get("metadata") or {}
    texts = {
        field: {str(key): str(value) for key, value in metadata[field].items()}
        for field in ("labels", "annotations")
        if metadata.get(field)
    }
    return {"metadata": texts} if texts else {}


def _with_env(pod: Manifest, env: Sequence[Mapping[str, Any]] | None) -> Manifest:
    """Add environment variables to a Pod's first container, and normalise variables and resources of all."""
    spec = pod["spec"]
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        variables, resources = env_list(container.pop("env", None)), container.pop("resources", None)
        container.update(without_empty(env=variables, resources=resource_requirements(resources)))
    if env:
        first = spec["containers"][0]
        named = {item["name"]: item for item in (*first.get("env", ()), *copy.deepcopy(list(env)))}
        first["env"] = list(named.values())
    return pod


def _with_placement(spec: Manifest, purpose: str, affinity: str) -> Manifest:
    """Return a Pod's spec with tolerations and affinity for nodes that are dedicated to Dask."""
    tolerations = [
        {"key": key, "operator": "Equal", "value": purpose, "effect": "NoSchedule"}
        # Some cloud providers allow no "/" in the key of a taint.
        for key in ("k8s.dask.org/dedicated", "k8s.dask.org_dedicated")
    ]
    given = spec.get("tolerations", [])
    placed = spec | {"tolerations": [*given, *(each for each in tolerations if each not in given)]}
    if affinity == "none":
        return placed
    purposes = {"key": "k8s.dask.org/node-purpose", "operator": "In", "values": [purpose]}
    term = {"matchExpressions": [purposes]}
    nodes: Manifest
    if affinity == "required":
        nodes = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    else:
        nodes = {"preferredDuringSchedulingIgnoredDuringExecution": [{"preference": term, "weight": 100}]}
    return merged(placed, {"affinity": {"nodeAffinity": nodes}})
