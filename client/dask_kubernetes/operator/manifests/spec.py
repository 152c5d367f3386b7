"""Manifests from Python arguments. Each call returns a new dict, which the caller may change.

The functions for users return every key that programs read or extend, with None where nothing is set. Manifests to send
contain no nulls: Kubernetes uses the default for an absent field, and rejects null in some fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests import security
from dask_kubernetes.operator.manifests.fields import (
    GROUP_NAME,
    LONGEST_GROUP_NAME,
    MOST_WORKERS,
    Env,
    Manifest,
    command_words,
    drain_seconds,
    env_list,
    flag,
    idle_seconds,
    image_name,
    optional_count,
    resource_requirements,
    service_type,
    validate_cluster_name,
    without_nulls,
)
from dask_kubernetes.operator.manifests.names import (
    API_VERSION,
    AUTOSCALER,
    CLUSTER_LABEL,
    COMM_PORT,
    COMPONENT_LABEL,
    DASHBOARD_PORT,
    SCHEDULER,
    WORKER,
    WORKER_GROUP,
    worker_group,
)

DEFAULT_IMAGE = "ghcr.io/dask/dask:latest"
_DASHBOARD = {SCHEDULER: 8787, WORKER: 8788}


def make_cluster_spec(
    name: str,
    image: str = DEFAULT_IMAGE,
    n_workers: int | None = None,
    resources: Mapping[str, Any] | None = None,
    env: Env | None = None,
    worker_command: str | Sequence[str] = "dask-worker",
    scheduler_service_type: str = "ClusterIP",
    idle_timeout: int | None = 0,
    jupyter: bool = False,
    *,
    restricted: bool = True,
    drain_timeout: int | None = None,
) -> Manifest:
    """Return a DaskCluster manifest, for `KubeCluster(custom_cluster_spec=…)` or, as YAML, for `kubectl apply`.

    Parameters
    ----------
    name : str
        Name of the cluster: 1 to 53 lower-case letters, digits and "-".
    image : str, optional
        Container image of the scheduler and the workers.
    n_workers : int, optional
        Number of workers in the default worker group. If None, the operator starts one.
    resources : dict, optional
        Resources of the scheduler and of each worker: `{"requests": …, "limits": …}`, or `{"cpu": …, "memory": …}` for
        both.
    env : dict or list of dict, optional
        Environment variables of the scheduler and the workers, as `{"NAME": "value"}` or in Kubernetes' format.
    worker_command : str or list of str, optional
        Command that starts a worker. Options required by the operator are appended.
    scheduler_service_type : str, optional
        ClusterIP, NodePort or LoadBalancer.
    idle_timeout : int, optional
        Seconds of idleness after which the operator deletes the cluster; 0 for never.
    jupyter : bool, optional
        Whether the scheduler serves Jupyter, which its image must contain.
    restricted : bool, optional
        Whether Pods comply with Kubernetes' Pod Security Standard `restricted`: they run as the user 1000, without
        privileges, and without a token of the ServiceAccount; with variables in `env`, HOME is /tmp unless they set it.
        If False, they run as the user of the image, and with the token.
    drain_timeout : int, optional
        Seconds within which a worker that leaves ends its running tasks; 0 to wait for none. If None, it has an hour
        when the operator removes it, and the grace period of its Pod when anybody else deletes that.

    Returns
    -------
    dict
        The manifest. It shares no objects with the arguments. `replicas` and a container's `env` and `resources` are
        None if the arguments are, which Kubernetes and KubeCluster take as absent.

    Raises
    ------
    ValidationError
        If an argument is invalid; the message names it and says what is valid.

    Examples
    --------
    >>> spec = make_cluster_spec(name="example", n_workers=2)
    >>> spec["spec"]["worker"]["spec"]["nodeSelector"] = {"disktype": "ssd"}
    """
    validate_cluster_name(name)
    return {
        "apiVersion": API_VERSION,
        "kind": "DaskCluster",
        "metadata": {"name": name},
        "spec": {
            "idleTimeout": idle_seconds(idle_timeout),
            "worker": make_worker_spec(
                image, n_workers, resources, env, worker_command, restricted=restricted, drain_timeout=drain_timeout
            ),
            "scheduler": make_scheduler_spec(
                name, env, resources, image, scheduler_service_type, jupyter, restricted=restricted
            ),
        },
    }


def make_worker_spec(
    image: str = DEFAULT_IMAGE,
    n_workers: int | None = 3,
    resources: Mapping[str, Any] | None = None,
    env: Env | None = None,
    worker_command: str | Sequence[str] = "dask-worker",
    *,
    cluster_name: str | None = None,
    restricted: bool = True,
    drain_timeout: int | None = None,
) -> Manifest:
    """Return the spec of a group's workers, for `KubeCluster.add_worker_group(custom_spec=…)`.

    Parameters
    ----------
    image, n_workers, resources, env, worker_command, restricted, drain_timeout
        As in `make_cluster_spec`.
    cluster_name : str, optional
        Has no effect: the group belongs to the cluster to which it is added.

    Returns
    -------
    dict
        `{"replicas": …, "spec": …}`, where `spec` is a Pod's, and `drainTimeoutSeconds` if it is given.

    Raises
    ------
    ValidationError
        If an argument is invalid, as in `make_cluster_spec`.

    Examples
    --------
    >>> workers = make_worker_spec(n_workers=2, resources={"limits": {"nvidia.com/gpu": 1}})
    >>> workers["spec"]["nodeSelector"] = {"cloud.google.com/gke-nodepool": "gpu-node-pool"}
    """
    restricted = flag("restricted", restricted)
    container = {
        "name": WORKER,
        "image": image_name(image),
        "args": worker_args(worker_command),
        **_env_and_resources(env, resources, restricted),
        "ports": [_port(DASHBOARD_PORT, _DASHBOARD[WORKER])],
        # No liveness or startup probe: a worker may be busy, or wait for its scheduler, for a long time.
        "readinessProbe": _health(period=1, timeout=10, failures=30),
    }
    seconds = drain_seconds(drain_timeout)
    return {
        "replicas": optional_count("n_workers", n_workers, MOST_WORKERS),
        **({} if seconds is None else {"drainTimeoutSeconds": seconds}),
        "spec": _pod(container, restricted),
    }


def make_scheduler_spec(
    cluster_name: str,
    env: Env | None = None,
    resources: Mapping[str, Any] | None = None,
    image: str = DEFAULT_IMAGE,
    scheduler_service_type: str = "ClusterIP",
    jupyter: bool = False,
    *,
    restricted: bool = True,
) -> Manifest:
    """Return the spec of a cluster's scheduler: its Pod's and its Service's.

    Parameters
    ----------
    cluster_name : str
        Name of the cluster; the Service selects the scheduler's Pod by it.
    env, resources, image, scheduler_service_type, jupyter, restricted
        As in `make_cluster_spec`.

    Returns
    -------
    dict
        `{"spec": …, "service": …}`.

    Raises
    ------
    ValidationError
        If an argument is invalid, as in `make_cluster_spec`.

    Examples
    --------
    >>> scheduler = make_scheduler_spec("example", jupyter=True)
    >>> scheduler["service"]["type"]
    'ClusterIP'
    """
    validate_cluster_name(cluster_name)
    restricted = flag("restricted", restricted)
    container = {
        "name": SCHEDULER,
        "image": image_name(image),
        "args": ["dask", "scheduler", *(["--jupyter"] if flag("jupyter", jupyter) else [])],
        **_env_and_resources(env, resources, restricted),
        **scheduler_ports_and_probes(),
    }
    return {
        "spec": _pod(container, restricted),
        "service": {
            "type": service_type(scheduler_service_type),
            "selector": {CLUSTER_LABEL: cluster_name, COMPONENT_LABEL: SCHEDULER},
            "ports": [_service_port(COMM_PORT, 8786), _service_port(DASHBOARD_PORT, _DASHBOARD[SCHEDULER])],
        },
    }


def scheduler_ports_and_probes() -> Manifest:
    """Return the ports and probes of a scheduler's container."""
    return {
        "ports": [_port(COMM_PORT, 8786), _port(DASHBOARD_PORT, _DASHBOARD[SCHEDULER])],
        # No startup probe: it would delay readiness, and the waiting user, by a second.
        "readinessProbe": _health(period=1, timeout=10, failures=30) | {"initialDelaySeconds": 0},
        # The container may install packages for ten minutes. A restart loses all work, so the scheduler may be busy for
        # minutes before it counts as dead.
        "livenessProbe": _health(period=30, timeout=30, failures=10) | {"initialDelaySeconds": 600},
    }


def worker_args(worker_command: str | Sequence[str]) -> list[str]:
    """Return the arguments of a worker's container: the command, and the options required by the operator."""
    name = ["--name", "$(DASK_WORKER_NAME)"]
    return [*command_words(worker_command), *name, "--dashboard", "--dashboard-address", str(_DASHBOARD[WORKER])]


def make_worker_group(cluster: str, name: str, worker_spec: Mapping[str, Any]) -> Manifest:
    """Return the manifest of the DaskWorkerGroup `<cluster>-<name>`, with the result of `make_worker_spec`."""
    full_name = worker_group(cluster, name)
    if not isinstance(name, str) or len(full_name) > LONGEST_GROUP_NAME or not GROUP_NAME.fullmatch(full_name):
        raise ValidationError(
            f"A worker group cannot be called {name!r}: its full name would be {full_name!r}, which must have "
            f'at most {LONGEST_GROUP_NAME} lower-case letters, digits and "-", and end with a letter or digit.'
        )
    return {
        "apiVersion": API_VERSION,
        "kind": "DaskWorkerGroup",
        "metadata": {"name": full_name, "labels": {CLUSTER_LABEL: cluster, COMPONENT_LABEL: WORKER_GROUP}},
        "spec": {"cluster": cluster, "worker": without_nulls(worker_spec)},
    }


def make_additional_group(
    cluster: Mapping[str, Any],
    name: str,
    n_workers: int | None = 3,
    image: str | None = None,
    resources: Mapping[str, Any] | None = None,
    worker_command: str | Sequence[str] | None = None,
    env: Env | None = None,
    custom_spec: Mapping[str, Any] | None = None,
    *,
    drain_timeout: int | None = None,
) -> Manifest:
    """Return the DaskWorkerGroup manifest for `KubeCluster.add_worker_group`.

    Arguments that are None default to those of the default group in `cluster`, a DaskCluster's manifest.
    """
    cluster_name = cluster["metadata"]["name"]
    if custom_spec is not None:
        if not isinstance(custom_spec, Mapping):
            raise ValidationError(f"custom_spec is {custom_spec!r}: it must be the result of make_worker_spec.")
        return make_worker_group(cluster_name, name, custom_spec)
    worker = cluster["spec"]["worker"]
    default: Mapping[str, Any] = worker["spec"]["containers"][0]
    made = make_worker_spec(
        default.get("image") or DEFAULT_IMAGE if image is None else image,
        worker.get("replicas") if n_workers is None else n_workers,
        default.get("resources") if resources is None else resources,
        default.get("env") if env is None else env,
        "dask-worker" if worker_command is None else worker_command,
        restricted=bool(default.get("securityContext")),
        drain_timeout=worker.get("drainTimeoutSeconds") if drain_timeout is None else drain_timeout,
    )
    (container,) = made["spec"]["containers"]
    of_pod, of_container = security.inherited(worker["spec"], default)
    made["spec"] |= of_pod
    container |= of_container
    if worker_command is None:
        container |= {field: list(default[field]) for field in ("command", "args") if default.get(field)}
    return make_worker_group(cluster_name, name, made)


def make_autoscaler(cluster: str, minimum: int | None, maximum: int | None) -> Manifest:
    """Return the DaskAutoscaler of a cluster's default group. The operator has defaults for bounds that are None."""
    minimum, maximum = optional_count("minimum", minimum), optional_count("maximum", maximum)
    if minimum is not None and maximum is not None and minimum > maximum:
        raise ValidationError(
            f"minimum is {minimum} and maximum is {maximum}: minimum must not be greater than maximum."
        )
    return {
        "apiVersion": API_VERSION,
        "kind": "DaskAutoscaler",
        "metadata": {"name": cluster, "labels": {CLUSTER_LABEL: cluster, COMPONENT_LABEL: AUTOSCALER}},
        "spec": without_nulls({"cluster": cluster, "minimum": minimum, "maximum": maximum}),
    }


def _port(name: str, number: int) -> Manifest:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _service_port(name: str, number: int) -> Manifest:
    return {"name": name, "protocol": "TCP", "port": number, "targetPort": name}


def _health(*, period: int, timeout: int, failures: int) -> Manifest:
    check = {"httpGet": {"path": "/health", "port": DASHBOARD_PORT}}
    return {**check, "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures}


def _pod(container: Manifest, restricted: bool) -> Manifest:
    spec = {"containers": [container]}
    return security.restricted(spec) if restricted else spec


def _env_and_resources(env: Env | None, resources: Mapping[str, Any] | None, restricted: bool) -> Manifest:
    """Return these fields of a container, empty if the arguments are: programs append to them."""
    variables = env_list(env) or (None if env is None else [])
    if variables and restricted:
        variables = security.with_home(variables)
    return {"env": variables, "resources": resource_requirements(resources) or (None if resources is None else {})}
