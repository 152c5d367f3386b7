"""The classic KubeCluster: the operator's class, with a DaskCluster made from the template of a worker's Pod."""

from __future__ import annotations

import inspect
import logging
import os
import warnings
from collections.abc import Mapping
from typing import Any, Self

import dask.config
from distributed import Security

from dask_kubernetes._moved import moved
from dask_kubernetes.classic import arguments
from dask_kubernetes.classic.pods import make_pod_from_dict, make_pod_spec
from dask_kubernetes.operator.kubecluster import kubecluster
from dask_kubernetes.operator.manifests.names import DEFAULT_GROUP

# Programs import all of these from here.
__all__ = ["KubeCluster", "make_pod_from_dict", "make_pod_spec"]

logger = logging.getLogger(__name__)
__getattr__ = moved(__name__, {"ClusterAuth": "dask_kubernetes.common.auth"})


class KubeCluster(kubecluster.KubeCluster):
    """A Dask cluster whose workers are copies of a Pod. Deprecated: use `dask_kubernetes.operator.KubeCluster`.

    Parameters
    ----------
    pod_template : dict, str or object, optional
        Pod of a worker: its manifest, the path of a YAML file, or an object of a Kubernetes client such as
        `kubernetes.client.V1Pod`. By default the file `kubernetes.worker-template-path` or the manifest
        `kubernetes.worker-template` of Dask's configuration.
    name : str, optional
        Name of the cluster, or a template with `{user}`, `{uuid}` and environment variables in braces. Invalid
        characters become "-". By default `kubernetes.worker-name` or `kubernetes.name`.
    namespace : str, optional
        Namespace of the cluster.
    n_workers : int, optional
        Initial number of workers.
    env : dict, optional
        Environment variables of the scheduler and the workers, in addition to those in the templates.
    idle_timeout : int or str, optional
        Seconds of idleness after which the cluster is deleted, or a duration such as "1 hour".
    scheduler_service_wait_timeout : int, optional
        Seconds to wait for the operator and the scheduler; `resource_timeout` of the operator's class.
    scheduler_pod_template : dict, str or object, optional
        Pod of the scheduler. By default the scheduler has the workers' image and environment.
    apply_default_affinity : str, optional
        Affinity of Pods for nodes with the label k8s.dask.org/node-purpose: "none", "preferred" or "required".
    security : distributed.Security, optional
        Certificates for a cluster whose templates enable TLS.
    protocol : str, optional
        "tls://" makes sure that the scheduler's template enables TLS, else ValidationError is raised. Any other
        protocol has no effect.
    host, port, auth, deploy_mode, interface, dashboard_address, \
    scheduler_service_name_resolution_retries : optional
        Accepted without effect, with a warning.
    **kwargs
        Other arguments of the operator's class.

    Raises
    ------
    ValidationError
        If a template or an argument is invalid.

    Examples
    --------
    >>> from dask_kubernetes.classic import KubeCluster, make_pod_spec
    >>> cluster = KubeCluster(make_pod_spec(image="ghcr.io/dask/dask:latest"))  # doctest: +SKIP
    >>> cluster.scale(10)  # doctest: +SKIP
    """

    def __init__(
        self,
        pod_template: object | None = None,
        name: str | None = None,
        namespace: str | None = None,
        n_workers: int | None = None,
        host: str | None = None,
        port: int | None = None,
        env: Mapping[str, Any] | None = None,
        auth: object | None = None,
        idle_timeout: float | str | None = None,
        deploy_mode: str | None = None,
        interface: str | None = None,
        protocol: str | None = None,
        dashboard_address: str | None = None,
        security: Security | None = None,
        scheduler_service_wait_timeout: float | None = None,
        scheduler_service_name_resolution_retries: int | None = None,
        scheduler_pod_template: object | None = None,
        apply_default_affinity: str = "preferred",
        **kwargs: Any,
    ) -> None:
        stacklevel = _stacklevel()
        warnings.warn(arguments.REPLACEMENT, DeprecationWarning, stacklevel=stacklevel)
        without_effect = arguments.ignored(
            host=host,
            port=port,
            auth=auth,
            deploy_mode=None if deploy_mode == "remote" else deploy_mode,
            interface=interface,
            protocol=None if arguments.is_tls(protocol) else protocol,
            dashboard_address=dashboard_address,
            scheduler_service_name_resolution_retries=scheduler_service_name_resolution_retries,
        )
        if without_effect:
            warnings.warn(without_effect, stacklevel=stacklevel)
        for_operator = arguments.operator_arguments(
            pod_template,
            name,
            namespace,
            n_workers,
            env,
            idle_timeout,
            scheduler_pod_template,
            apply_default_affinity,
            scheduler_service_wait_timeout,
            protocol,
        )
        super().__init__(security=security, **for_operator | kwargs)

    @classmethod
    def from_yaml(cls, yaml_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """Create a cluster from a YAML file with the template of a worker's Pod.

        Parameters
        ----------
        yaml_path : str
            Path of the file.
        **kwargs
            Other arguments of the class.

        Examples
        --------
        >>> cluster = KubeCluster.from_yaml("worker-spec.yml")  # doctest: +SKIP
        """
        return cls(yaml_path, **kwargs)

    @classmethod
    def from_dict(cls, pod_spec: Mapping[str, Any], **kwargs: Any) -> Self:
        """Create a cluster from the manifest of a worker's Pod.

        Parameters
        ----------
        pod_spec : dict
            The manifest.
        **kwargs
            Other arguments of the class.

        Examples
        --------
        >>> cluster = KubeCluster.from_dict({"spec": {"containers": [{"image": "dask:1"}]}})  # doctest: +SKIP
        """
        return cls(pod_spec, **kwargs)

    @classmethod
    def from_name(cls, name: str, **kwargs: Any) -> Any:
        """Connect to an existing cluster, as an object of the operator's class.

        Parameters
        ----------
        name : str
            Name of the cluster.
        **kwargs
            Other arguments of the operator's class.
        """
        return kubecluster.KubeCluster.from_name(name, **kwargs)

    def scale(self, n: int, worker_group: str = DEFAULT_GROUP) -> Any:
        """Set the number of workers in a group, at most `kubernetes.count.max` of Dask's configuration.

        Parameters
        ----------
        n : int
            Number of workers.
        worker_group : str, optional
            Name of the group.
        """
        return super().scale(_at_most(n), worker_group)

    def adapt(  # type: ignore[override]
        self, minimum: int | None = None, maximum: float | None = None, **kwargs: Any
    ) -> Any:
        """Scale the default group by the scheduler's load, at most to `kubernetes.count.max` of Dask's configuration.

        Parameters
        ----------
        minimum, maximum : int, optional
            Bounds of the number of workers.
        **kwargs
            Options of Dask's own adaptive scaling, accepted without effect, with a warning.
        """
        if kwargs:
            names = ", ".join(kwargs)
            warnings.warn(f"adapt takes {names} without effect: the operator scales the cluster.", stacklevel=2)
        most = dask.config.get("kubernetes.count.max")
        return super().adapt(minimum if minimum is None else _at_most(minimum), arguments.bounded(maximum, most))


def _at_most(n: int) -> int:
    most = dask.config.get("kubernetes.count.max")
    bounded = arguments.bounded(n, most)
    if bounded is None or bounded == n:
        return n
    logger.warning("%s workers were requested, but kubernetes.count.max allows only %s.", n, most)
    return bounded


def _stacklevel() -> int:
    """Return the stack level of the first frame outside this package, for `warnings.warn` in the caller."""
    frame, level = inspect.currentframe(), 0
    while frame and str(frame.f_globals.get("__name__")).startswith("dask_kubernetes."):
        frame, level = frame.f_back, level + 1
    return level
