"""Arguments of the classic KubeCluster, translated to those of `dask_kubernetes.operator.KubeCluster`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import dask.config

from dask_kubernetes.classic.manifest import manifest
from dask_kubernetes.classic.templates import configured_template, pod_template
from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.diagnosis.status import uses_tls
from dask_kubernetes.operator.manifests.fields import Manifest
from dask_kubernetes.operator.settings import Settings, fitting_name

REPLACEMENT = (
    "KubeCluster of dask_kubernetes.classic is deprecated: write `from dask_kubernetes.operator import KubeCluster` "
    "and `KubeCluster(name=…, namespace=…, image=…, n_workers=…, env=…, resources=…, worker_command=…)`. For other "
    'fields of a pod template, edit `make_cluster_spec(…)["spec"]["worker"]["spec"]` and pass the result as '
    "`KubeCluster(custom_cluster_spec=…)`."
)
_TLS = ("tls", "wss")


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
    protocol: str | None = None,
) -> dict[str, Any]:
    """Return the arguments of the operator's KubeCluster for those of the classic one."""
    settings = Settings.of(
        # The classic interface has always made names fit.
        name=fitting_name(name or dask.config.get("kubernetes.worker-name") or dask.config.get("kubernetes.name")),
        namespace=namespace,
        n_workers=n_workers,
        env=env,
        idle_timeout=idle_timeout,
        # 0 used to mean no limit.
        resource_timeout=scheduler_timeout or None,
    )
    template = configured_template() if pod is None else pod_template(pod)
    scheduler_template = None if scheduler_pod is None else pod_template(scheduler_pod)
    cluster = manifest(template, settings, scheduler_template, affinity)
    if protocol and is_tls(protocol):
        _refuse_clear_text(cluster, protocol)
    return {
        "custom_cluster_spec": cluster,
        "namespace": settings.namespace,
        "resource_timeout": settings.resource_timeout,
    }


def ignored(**arguments: object) -> str | None:
    """Return a warning that names the arguments that are given without effect, None if there are none."""
    given = [name for name, value in arguments.items() if value is not None]
    if not given:
        return None
    return (
        f"KubeCluster of dask_kubernetes.classic takes {', '.join(given)} without effect: the operator runs the "
        "scheduler in a Pod; set options of its command in scheduler_pod_template."
    )


def bounded(number: float | None, most: int | None) -> int | None:
    """Return the smaller of a number of workers and a bound. None and infinity stand for no limit."""
    bounds = [bound for bound in (number, most) if bound is not None and bound != math.inf]
    return int(min(bounds)) if bounds else None


def is_tls(protocol: str | None) -> bool:
    """Return whether a protocol, such as "tls://", is encrypted."""
    return protocol is not None and protocol.partition("://")[0] in _TLS


def _refuse_clear_text(cluster: Manifest, protocol: str) -> None:
    if uses_tls(cluster):
        return
    raise ValidationError(
        f"protocol is {protocol!r}, but the scheduler would not use TLS: pass a scheduler_pod_template whose container "
        "has the certificates and `args: [dask, scheduler, --protocol, tls, --tls-ca-file, …, --tls-cert, …, "
        "--tls-key, …]`, and set the same three options in the workers' template."
    )
