"""Templates of a worker's Pod for the classic KubeCluster."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests import security
from dask_kubernetes.operator.manifests.fields import Manifest, env_list, flag, image_name, resource_requirements

NAME = ("--name", "$(DASK_WORKER_NAME)")
DEATH_TIMEOUT = ("--death-timeout", "60")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


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
    *,
    restricted: bool = True,
) -> Manifest:
    """Return the manifest of a worker's Pod, for `dask_kubernetes.classic.KubeCluster`.

    Parameters
    ----------
    image : str
        Container image.
    labels, annotations : dict, optional
        Labels and annotations of the Pod.
    threads_per_worker : int, optional
        Number of threads of a worker.
    env : dict, optional
        Environment variables.
    extra_container_config, extra_pod_config : dict, optional
        Additional fields of the container and of the Pod's spec, with Kubernetes' names. Dicts are merged with existing
        ones, lists are appended to them.
    resources : str, optional
        Dask's abstract resources of a worker, such as "GPU=2 MEM=10e9".
    memory_limit : int, float or str, optional
        Memory limit of the container and of the worker in it, in bytes or as in "4Gi".
    memory_request, cpu_limit, cpu_request : optional
        Other resources of the container, as Kubernetes quantities.
    gpu_limit : int, optional
        Number of GPUs of the container (`nvidia.com/gpu`).

    restricted : bool, optional
        Whether the Pod complies with Kubernetes' Pod Security Standard `restricted`: it runs as the user 1000, without
        privileges, and without a token of the ServiceAccount, and HOME is /tmp. Fields of `extra_container_config` and
        `extra_pod_config` override this. If False, it runs as the user of the image, and with the token.

    Returns
    -------
    dict
        The manifest of a Pod.

    Raises
    ------
    ValidationError
        If an argument is invalid; the message names it and says what is valid.

    Examples
    --------
    >>> pod = make_pod_spec(image="ghcr.io/dask/dask:latest", memory_limit="4G", cpu_limit=1)
    >>> pod["spec"]["containers"][0]["args"][:2]
    ['dask', 'worker']
    """
    given = {
        "labels": labels,
        "annotations": annotations,
        "extra_container_config": extra_container_config,
        "extra_pod_config": extra_pod_config,
    }
    for name, value in given.items():
        _validate_mapping(name, value)
    limits = {"cpu": cpu_limit, "memory": None if memory_limit == "auto" else memory_limit, "nvidia.com/gpu": gpu_limit}
    container = without_empty(
        name="dask-worker",
        image=image_name(image),
        args=[
            *("dask", "worker", *NAME, "--nthreads", _threads(threads_per_worker), *DEATH_TIMEOUT),
            *_option("--memory-limit", memory_limit),
            *_option("--resources", _abstract(resources)),
        ],
        env=env_list(env),
        resources=resource_requirements({"limits": limits, "requests": {"cpu": cpu_request, "memory": memory_request}}),
    )
    container = merged(container, extra_container_config)
    if flag("restricted", restricted):
        container["env"] = security.with_home(container.get("env", ()))
    spec = merged({"restartPolicy": "Never", "containers": [container]}, extra_pod_config)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": dict(labels), "annotations": dict(annotations)},
        "spec": security.restricted(spec) if restricted else spec,
    }


def make_pod_from_dict(dict_: Mapping[str, Any]) -> Manifest:
    """Return a copy of a Pod's manifest in which every container has a name.

    Parameters
    ----------
    dict_ : dict
        The manifest of a Pod. Nulls are removed.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    ValidationError
        If the manifest is not a Pod, or has no containers.

    Examples
    --------
    >>> make_pod_from_dict({"spec": {"containers": [{"image": "dask:1"}]}})["spec"]["containers"]
    [{'image': 'dask:1', 'name': 'dask-0'}]
    """
    pod = plain(dict_)
    if not isinstance(pod, dict) or pod.get("kind", "Pod") != "Pod":
        raise ValidationError("A pod template must be the manifest of a Pod, with `spec.containers`.")
    containers = pod["spec"].get("containers") if isinstance(pod.get("spec"), dict) else None
    if not isinstance(containers, list) or not containers or not all(isinstance(each, dict) for each in containers):
        raise ValidationError("A pod template must have at least one container under `spec.containers`.")
    for number, container in enumerate(containers):
        container.setdefault("name", f"dask-{number}")
    return pod


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> Manifest:
    """Merge two mappings into a new dict: dicts are merged, lists are concatenated, other values of `over` win."""
    both = copy.deepcopy(dict(under))
    for key, value in over.items():
        have = both.get(key)
        if isinstance(have, dict) and isinstance(value, Mapping):
            both[key] = merged(have, value)
        elif isinstance(have, list) and isinstance(value, list | tuple):
            both[key] = [*have, *copy.deepcopy(list(value))]
        else:
            both[key] = copy.deepcopy(value)
    return both


def without_empty(**fields: Any) -> Manifest:
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


def plain(value: Any) -> Any:
    """Return a copy as plain JSON without nulls. Objects of a Kubernetes client become dicts with Kubernetes' names."""
    if hasattr(value, "attribute_map"):
        return plain({name: getattr(value, attribute) for attribute, name in value.attribute_map.items()})
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    return value


def _validate_mapping(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise ValidationError(f"{name} is {value!r}: it must be a dict.")


def _threads(number: object) -> str:
    if not isinstance(number, bool) and isinstance(number, int | str) and str(number).isdecimal() and int(number) > 0:
        return str(number)
    raise ValidationError(f"threads_per_worker is {number!r}: it must be a whole number of threads, 1 or more.")


def _abstract(resources: object) -> str | None:
    if resources is None or (isinstance(resources, str) and "=" in resources):
        return resources
    raise ValidationError(f'resources is {resources!r}: it must be text as in "GPU=2 MEM=10e9".')


def _option(name: str, value: object) -> list[str]:
    # 0 must be passed on: it means no limit.
    return [] if value is None else [name, str(value)]
