"""What can go wrong between Python and a Dask cluster. Each says what happened and what to do about it.

All are `DaskKubernetesError`. Each is also the built-in exception that such an error is elsewhere (ValueError,
TimeoutError, …), so that code that catches those goes on working.
"""

from __future__ import annotations

from distributed.exceptions import WorkerStartTimeoutError


class DaskKubernetesError(Exception):
    """Something went wrong with a Dask cluster on Kubernetes."""


class CredentialsError(DaskKubernetesError, RuntimeError):
    """There is no way to the Kubernetes API: no kubeconfig, no such context, or a token that is not accepted."""


class KubernetesUnreachableError(DaskKubernetesError, ConnectionError):
    """The Kubernetes API server does not answer."""


class NotPermittedError(DaskKubernetesError, PermissionError):
    """The Kubernetes API server does not permit something; the message has the verb and the resource."""


class NamespaceNotFoundError(DaskKubernetesError, ValueError):
    """There is no such namespace."""


class OperatorNotInstalledError(DaskKubernetesError, RuntimeError):
    """Kubernetes does not know DaskClusters: the operator's custom resource definitions are not there."""


class OperatorNotRespondingError(DaskKubernetesError, TimeoutError):
    """The DaskCluster is there and the operator has not taken it up in time."""


class ValidationError(DaskKubernetesError, ValueError):
    """A name, an argument or a manifest is not valid. `message`: why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SpecRefusedError(ValidationError):
    """The Kubernetes API server, or an admission webhook, refused a manifest."""


class ClusterExistsError(DaskKubernetesError, ValueError):
    """There is a cluster of this name, and it was to be created."""


class ClusterNotFoundError(DaskKubernetesError, ValueError):
    """There is no cluster of this name, or somebody has deleted it."""


class WorkerGroupExistsError(DaskKubernetesError, ValueError):
    """There is a worker group of this name."""


class WorkerGroupNotFoundError(DaskKubernetesError, ValueError):
    """There is no worker group of this name."""


class SchedulerStartupError(DaskKubernetesError, TimeoutError):
    """The scheduler did not start in time; the message has the reason that its Pod gives."""


class CrashLoopBackOffError(SchedulerStartupError):
    """The scheduler ends as often as it starts; the message has the last lines of its log."""


class SchedulerUnreachableError(DaskKubernetesError, ConnectionError):
    """The scheduler runs, and there is no connection with it."""


class WorkersNotReadyError(DaskKubernetesError, WorkerStartTimeoutError):
    """Fewer workers than wanted are there in time; the message has the reason that their Pods give."""

    def __init__(self, available: int, expected: int, timeout: float, reason: str) -> None:
        super().__init__(available, expected, timeout)
        self.reason = reason

    def __str__(self) -> str:
        text = f"{self.available_workers} of {self.expected_workers} workers are there after {self.timeout:g} s"
        return f"{text}: {self.reason}" if self.reason else text
