"""Credentials as arguments of the classic `KubeCluster`, until 2024. Now they are always those of `kubectl`.

What means the same is accepted. What would choose other credentials is an error, because a cluster must not be created
in another Kubernetes than its user named.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from dask_kubernetes.exceptions import ValidationError

_INSTEAD = (
    "credentials are those of kubectl: set the environment variable KUBECONFIG to the file, and choose the context "
    "with `kubectl config use-context`"
)


class ClusterAuth:
    """Credentials of the kubeconfig, or else of this Pod's ServiceAccount. Accepted without effect."""

    DEFAULT: ClassVar[list[type[ClusterAuth]]] = []

    @staticmethod
    def load_first(auth: object = None) -> None:
        """Accept credentials of this module; they are read when a cluster is created."""


class InCluster(ClusterAuth):
    """Credentials of this Pod's ServiceAccount. Accepted without effect."""


class KubeConfig(ClusterAuth):
    """Credentials of a kubeconfig. Raises ValidationError if it is not the one that kubectl uses."""

    def __init__(self, config_file: object = None, context: object = None, persist_config: bool = False) -> None:
        if config_file is not None or context is not None:
            raise ValidationError(f"KubeConfig takes no config_file and no context: {_INSTEAD}.")


class KubeAuth(ClusterAuth):
    """Credentials as arguments. Raises ValidationError."""

    def __init__(self, host: str, **kwargs: Any) -> None:
        _refuse(host)


def _refuse(host: str) -> NoReturn:
    raise ValidationError(f"KubeAuth cannot choose the API server {host}: {_INSTEAD}.")


ClusterAuth.DEFAULT += [InCluster, KubeConfig]
