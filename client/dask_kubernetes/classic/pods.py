"""A worker's Pod, as programs had it before there was an operator, and the DaskCluster that it becomes."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dask.config
import yaml

from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.settings import Settings, fitting_name
from dask_kubernetes.operator.spec import (
    DEFAULT_IMAGE,
    Manifest,
    env_list,
    make_cluster_spec,
    resource_requirements,
    scheduler_ports_and_probes,
    worker_args,
)

REPLACEMENT = (
    "KubeCluster of dask_kubernetes.classic is deprecated: write `from dask_kubernetes.operator import KubeCluster` "
    "and `KubeCluster(name=…, namespace=…, image=…, n_workers=…, env=…, resources=…, worker_command=…)`; what else a "
    'pod template has goes into `make_cluster_spec(…)["spec"]["worker"]["spec"]`, and that into '
    "`KubeCluster(custom_cluster_spec=…)`."
)
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_DEATH_TIMEOUT = ["--death-timeout", "60"]
_NAME = ["--name", "$(DASK_WORKER_NAME)"]
# What starts a worker, or else a scheduler: such a command takes Dask's options.
_WORKER = (("dask", "worker"), ("dask", "cuda", "worker"), ("dask-cuda-worker",), ("-m", "distributed.cli.dask_worker"))
_SCHEDULER = (("dask", "scheduler"), ("-m", "distributed.cli.dask_scheduler"))
_OLD_OPTIONS = {"--bokeh": "--dashboard", "--no-bokeh": "--no-dashboard", "--bokeh-port": "--dashboard-address"}
# What of a worker's Pod decides whether and where the scheduler's may run at all.
_SHARED_WITH_SCHEDULER = ("imagePullSecrets", "nodeSelector", "securityContext", "serviceAccountName", "tolerations")
_AFFINITIES = ("none", "preferred", "required")


def make_pod_spec(
    image: str,
    labels: Mapping[str, str] = _NOTHING,
    threads_per_worker: int = 1,
    env: Mapping[str, str] = _NOTHING,
    extra_container_config: Mapping[str, Any] = _NOTHING,
    extra_pod_config: Mapping[str, Any] = _NOTHING,
    resources: str | None = None,
    memory_limit: float | str | None = None,
    memory_request: float | str | None = None,
    cpu_limit: float | str | None = None,
    cpu_request: float | str | None = None,
    gpu_limit: int | None = None,
    annotations: Mapping[str, str] = _NOTHING,
) -> Manifest:
    """A worker's Pod, for `dask_kubernetes.classic.KubeCluster`.

    Parameters
    ----------
    image : str
        Container image.
    labels, annotations : dict, optional
        Of the Pod.
    threads_per_worker : int, optional
        Threads of a worker.
    env : dict, optional
        Environment variables.
    extra_container_config, extra_pod_config : dict, optional
        Fields of the container and of the Pod's spec, in Kubernetes' names: dicts are merged into those that are there,
        lists are appended to them.
    resources : str, optional
        Dask's resources of a worker, as in "GPU=2 MEM=10e9".
    memory_limit : int, float or str, optional
        Bytes, or as in "4Gi": of the container, and of the worker in it.
    memory_request, cpu_limit, cpu_request : optional
        Resources of the container.
    gpu_limit : int, optional
        How many of `nvidia.com/gpu` the container has.

    Returns
    -------
    dict
        The manifest of a Pod.

    Raises
    ------
    ValidationError
        If a resource is none of Kubernetes' quantities.

    Examples
    --------
    >>> pod = make_pod_spec(image="ghcr.io/dask/dask:latest", memory_limit="4G", cpu_limit=1)
    >>> pod["spec"]["containers"][0]["args"][:2]
    ['dask', 'worker']
    """
    limits = {"cpu": cpu_limit, "memory": None if memory_limit == "auto" else memory_limit, "nvidia.com/gpu": gpu_limit}
    container = _without_empty(
        name="dask-worker",
        image=image,
        args=[
            *("dask", "worker", *_NAME, "--nthreads", str(threads_per_worker), *_DEATH_TIMEOUT),
            *_option("--memory-limit", memory_limit),
            *_option("--resources", resources),
        ],
        env=env_list(env),
        resources=resource_requirements(
            {"limits": _without_empty(**limits), "requests": _without_empty(cpu=cpu_request, memory=memory_request)}
        ),
    )
    spec = {"restartPolicy": "Never", "containers": [_merged(container, extra_container_config)]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": dict(labels), "annotations": dict(annotations)},
        "spec": _merged(spec, extra_pod_config),
    }


def make_pod_from_dict(dict_: Mapping[str, Any]) -> Manifest:
    """A copy of a Pod's manifest in which every container has a name.

    Parameters
    ----------
    dict_ : dict
        The manifest of a Pod; nulls in it are as absent.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    ValidationError
        If it is no Pod, or has no containers.

    Examples
    --------
    >>> make_pod_from_dict({"spec": {"containers": [{"image": "dask:1"}]}})["spec"]["containers"]
    [{'image': 'dask:1', 'name': 'dask-0'}]
    """
    pod = _plain(dict_)
    if not isinstance(pod, dict) or pod.get("kind", "Pod") != "Pod":
        raise ValidationError("A pod template must be the manifest of a Pod, with `spec` and in it `containers`.")
    containers = pod["spec"].get("containers") if isinstance(pod.get("spec"), dict) else None
    if not isinstance(containers, list) or not containers or not all(isinstance(each, dict) for each in containers):
        raise ValidationError("A pod template must have its containers under `spec.containers`, and at least one.")
    for number, container in enumerate(containers):
        container.setdefault("name", f"dask-{number}")
    return pod


def pod_template(given: object) -> Manifest:
    """A Pod's manifest from one, from the path of a YAML file, or from an object of a Kubernetes client."""
    if isinstance(given, str | os.PathLike):
        return make_pod_from_dict(_read(Path(given)))
    return make_pod_from_dict(_plain(given))


def configured_template() -> Manifest:
    """The Pod of workers in Dask's configuration."""
    if path := dask.config.get("kubernetes.worker-template-path"):
        return pod_template(_filled_path(path))
    if template := dask.config.get("kubernetes.worker-template"):
        return make_pod_from_dict(dask.config.expand_environment_variables(template))
    raise ValidationError(
        "There is no pod template: give KubeCluster one, or set kubernetes.worker-template-path in Dask's "
        "configuration. Without one, use KubeCluster of dask_kubernetes.operator."
    )


def operator_arguments(
    pod: object | None = None,
    name: str | None = None,
    namespace: str | None = None,
    n_workers: int | None = None,
    env: Mapping[str, Any] | None = None,
    idle_timeout: float | str | None = None,
    scheduler_pod: object | None = None,
    affinity: str = "preferred",
    scheduler_timeout: float | None = None,
) -> dict[str, Any]:
    """The arguments of the operator's KubeCluster for those of the classic one."""
    settings = Settings.of(
        # Names have always been made to fit here.
        name=fitting_name(name or dask.config.get("kubernetes.worker-name") or dask.config.get("kubernetes.name")),
        namespace=namespace,
        n_workers=n_workers,
        env=env,
        idle_timeout=idle_timeout,
        # 0 was to wait for ever.
        resource_timeout=scheduler_timeout or None,
    )
    template = configured_template() if pod is None else pod_template(pod)
    scheduler_template = None if scheduler_pod is None else pod_template(scheduler_pod)
    return {
        "custom_cluster_spec": manifest(template, settings, scheduler_template, affinity),
        "namespace": settings.namespace,
        "resource_timeout": settings.resource_timeout,
    }


def manifest(
    template: Mapping[str, Any],
    settings: Settings,
    scheduler_template: Mapping[str, Any] | None = None,
    affinity: str = "preferred",
) -> Manifest:
    """The DaskCluster whose workers are a Pod's copies. Its scheduler has the same image and environment."""
    if affinity not in _AFFINITIES:
        raise ValidationError(f"apply_default_affinity is {affinity!r}: it must be one of {', '.join(_AFFINITIES)}.")
    pod = _with_env(make_pod_from_dict(template), settings.env)
    cluster = make_cluster_spec(
        settings.name,
        n_workers=settings.n_workers,
        scheduler_service_type=settings.scheduler_service_type,
        idle_timeout=settings.idle_timeout,
        jupyter=settings.jupyter,
    )
    worker, scheduler = cluster["spec"]["worker"], cluster["spec"]["scheduler"]
    worker |= _metadata(pod) | {"spec": _placed(_worker_pod(pod["spec"]), "worker", affinity)}
    own = scheduler["spec"]["containers"][0]
    if scheduler_template is None:
        scheduler |= {"spec": _placed(_scheduler_beside(pod["spec"], own), "scheduler", affinity)}
        return cluster
    of_scheduler = _with_env(make_pod_from_dict(scheduler_template), settings.env)
    spec = _scheduler_pod(of_scheduler["spec"], own["args"])
    scheduler |= _metadata(of_scheduler) | {"spec": _placed(spec, "scheduler", affinity)}
    return cluster


def ignored(**arguments: object) -> str | None:
    """The sentence about those arguments that are given and have no effect, if there are any."""
    given = [name for name, value in arguments.items() if value is not None]
    if not given:
        return None
    return (
        f"KubeCluster of dask_kubernetes.classic takes {', '.join(given)} without effect: the scheduler runs in a "
        "Pod of the operator, whose options are its command's, in scheduler_pod_template."
    )


def _worker_pod(spec: Manifest) -> Manifest:
    first, *others = spec["containers"]
    return spec | {"containers": [_worker_container(first), *others]}


def _worker_container(container: Manifest) -> Manifest:
    command, args = _words(container, "command"), _words(container, "args")
    if not command + args:
        args = [*worker_args("dask worker"), *_DEATH_TIMEOUT]
    elif _starts(command + args, _WORKER):
        missing = [option for option in (_NAME, _DEATH_TIMEOUT) if not _says(command + args, option[0])]
        args = [*args, *(word for option in missing for word in option)]
    return {"image": DEFAULT_IMAGE} | container | _without_empty(command=command, args=args)


def _scheduler_beside(worker: Manifest, own: Manifest) -> Manifest:
    """A scheduler's Pod beside such workers."""
    first = worker["containers"][0]
    shared = {
        field: first[field] for field in ("env", "envFrom", "imagePullPolicy", "securityContext") if field in first
    }
    container = own | shared | {"image": first.get("image", DEFAULT_IMAGE)}
    return copy.deepcopy(
        {field: worker[field] for field in _SHARED_WITH_SCHEDULER if field in worker} | {"containers": [container]}
    )


def _scheduler_pod(spec: Manifest, args: Sequence[str]) -> Manifest:
    """A scheduler's Pod from its own template, which may be a worker's with other resources."""
    first, *others = spec["containers"]
    command, given = _words(first, "command"), _words(first, "args")
    words = _without_empty(command=command, args=given if _starts(command + given, _SCHEDULER) else list(args))
    ours = scheduler_ports_and_probes()
    taken = {port["containerPort"] for port in ours["ports"]}
    ports = [*(port for port in first.get("ports", ()) if port.get("containerPort") not in taken), *ours["ports"]]
    container = {"image": DEFAULT_IMAGE} | ours | first | words | {"ports": ports}
    return spec | {"containers": [container, *others]}


def _words(container: Mapping[str, Any], field: str) -> list[str]:
    """A command's words as today's Dask has them."""
    words = [_OLD_OPTIONS.get(str(word), str(word)) for word in container.get(field, ())]
    for old in ("dask-worker", "dask-scheduler"):
        # Only what is run: an option's value, as in `--name dask-worker`, stays.
        position = words.index(old) if old in words else -1
        before = words[position - 1] if position > 0 else "--"
        if position >= 0 and (before == "--" or not before.startswith("-")):
            words[position : position + 1] = old.split("-")
    return words


def _starts(words: Sequence[str], commands: Iterable[Sequence[str]]) -> bool:
    return any(
        tuple(words[start : start + len(command)]) == tuple(command)
        for command in commands
        for start in range(len(words))
    )


def _says(words: Iterable[str], option: str) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in words)


def _metadata(pod: Mapping[str, Any]) -> Manifest:
    """A Pod's labels and annotations as a DaskCluster has them for its part."""
    metadata = pod.get("metadata") or {}
    texts = {
        field: {str(key): str(value) for key, value in metadata[field].items()}
        for field in ("labels", "annotations")
        if metadata.get(field)
    }
    return {"metadata": texts} if texts else {}


def _with_env(pod: Manifest, env: Sequence[Mapping[str, Any]] | None) -> Manifest:
    """A Pod whose first container has more environment variables; all are written as Kubernetes takes them."""
    spec = pod["spec"]
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        variables, resources = env_list(container.pop("env", None)), container.pop("resources", None)
        container.update(_without_empty(env=variables, resources=resource_requirements(resources)))
    if env:
        first = spec["containers"][0]
        named = {item["name"]: item for item in (*first.get("env", ()), *copy.deepcopy(list(env)))}
        first["env"] = list(named.values())
    return pod


def _placed(spec: Manifest, purpose: str, affinity: str) -> Manifest:
    """A Pod that tolerates the taints of nodes that are kept for Dask, and seeks such nodes."""
    tolerations = [
        {"key": key, "operator": "Equal", "value": purpose, "effect": "NoSchedule"}
        # Some providers take no "/" in a taint's key.
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
    return _merged(placed, {"affinity": {"nodeAffinity": nodes}})


def _plain(value: Any) -> Any:
    """A copy in plain JSON without nulls, in Kubernetes' names also where it is an object of a Kubernetes client."""
    if hasattr(value, "attribute_map"):
        return _plain({name: getattr(value, attribute) for attribute, name in value.attribute_map.items()})
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict())
    return value


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> Manifest:
    """Dicts are merged, lists are appended, anything else is replaced."""
    merged = copy.deepcopy(dict(under))
    for key, value in over.items():
        have = merged.get(key)
        if isinstance(have, dict) and isinstance(value, Mapping):
            merged[key] = _merged(have, value)
        elif isinstance(have, list) and isinstance(value, list | tuple):
            merged[key] = [*have, *copy.deepcopy(list(value))]
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _option(name: str, value: object) -> list[str]:
    # 0 is a limit too: none.
    return [] if value is None else [name, str(value)]


def _without_empty(**fields: Any) -> Manifest:
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


def _filled_path(path: str) -> str:
    try:
        return path.format_map(os.environ)
    except (ValueError, LookupError) as problem:
        raise ValidationError(
            f"kubernetes.worker-template-path is {path!r}, and {problem} is no environment variable: set it, or "
            "write the path itself."
        ) from None


def _read(path: Path) -> Any:
    try:
        return dask.config.expand_environment_variables(yaml.safe_load(path.expanduser().read_text()))
    except OSError as error:
        raise ValidationError(f"The pod template cannot be read: {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValidationError(f"{path} is not YAML of a single object: {error}") from None


def bounded(number: float | None, most: int | None) -> int | None:
    """A number of workers that is not above a bound. None, and infinity, is any number."""
    bounds = [bound for bound in (number, most) if bound is not None and bound != math.inf]
    return int(min(bounds)) if bounds else None
