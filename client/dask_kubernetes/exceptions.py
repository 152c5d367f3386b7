"""Errors of this package. Each message says what happened and how to fix it.

All errors derive from `DaskKubernetesError`. Each also derives from the matching built-in exception (ValueError,
TimeoutError, …), so that code which catches the built-in keeps working.
"""

from __future__ import annotations

from distributed.exceptions import WorkerStartTimeoutError


class DaskKubernetesError(Exception):
    """Base class of all errors of this package."""


class CredentialsError(DaskKubernetesError, RuntimeError):
    """No usable credentials for the Kubernetes API: no kubeconfig, an unknown context, or a rejected token."""


class KubernetesUnreachableError(DaskKubernetesError, ConnectionError):
    """The Kubernetes API server does not answer."""


class NotPermittedError(DaskKubernetesError, PermissionError):
    """A permission is missing in Kubernetes; the message names the verb and the resource."""


class NamespaceNotFoundError(DaskKubernetesError, ValueError):
    """The namespace does not exist, or is being deleted."""


class OperatorNotInstalledError(DaskKubernetesError, RuntimeError):
    """The operator's custom resource definitions are not installed, so Kubernetes has no DaskCluster resource."""


class OperatorNotRespondingError(DaskKubernetesError, TimeoutError):
    """The DaskCluster exists, and no operator acted on it in time."""


class ValidationError(DaskKubernetesError, ValueError):
    """A name, an argument or a manifest is not valid; `message` says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SpecRefusedError(ValidationError):
    """The Kubernetes API server, or an admission webhook, rejected a manifest."""


class ClusterExistsError(DaskKubernetesError, ValueError):
    """A cluster with this name already exists, and `create_mode` is `CREATE_ONLY`."""


class ClusterNotFoundError(DaskKubernetesError, ValueError):
    """The cluster does not exist, or no longer exists."""


class WorkerGroupExistsError(DaskKubernetesError, ValueError):
    """A worker group with this name already exists."""


class WorkerGroupNotFoundError(DaskKubernetesError, ValueError):
    """The cluster has no worker group with this name."""


class SchedulerStartupError(DaskKubernetesError, TimeoutError):
    """The scheduler did not start in time; the message quotes the reason from its Pod."""


class CrashLoopBackOffError(SchedulerStartupError):
    """The scheduler's container keeps crashing; the message quotes the last lines of its log."""


class SchedulerUnreachableError(DaskKubernetesError, ConnectionError):
    """The scheduler runs, but no connection to it can be made."""


class WorkersNotReadyError(DaskKubernetesError, WorkerStartTimeoutError):
    """Too few workers started in time; the message quotes the reason from their Pods."""

    def __init__(self, available: int, expected: int, timeout: float, reason: str) -> None:
        super().__init__(available, expected, timeout)
        self.reason = reason

    def __str__(self) -> str:
        text = f"{self.available_workers} of {self.expected_workers} workers run after {self.timeout:g} s"
        return f"{text}: {self.reason}" if self.reason else text
