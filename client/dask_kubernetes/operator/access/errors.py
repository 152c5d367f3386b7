"""Errors for the responses of the Kubernetes API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from dask_kubernetes.exceptions import (
    CredentialsError,
    DaskKubernetesError,
    KubernetesUnreachableError,
    NamespaceNotFoundError,
    NotPermittedError,
    OperatorNotInstalledError,
    SpecRefusedError,
)

Json = Mapping[str, Any]


class AlreadyExistsError(Exception):
    """An object of this name already exists."""


def error_of(response: httpx.Response, server: str) -> DaskKubernetesError | AlreadyExistsError:
    """Return the error for a response that is not a success."""
    status, code = _status(response), response.status_code
    message = str(status.get("message") or response.text.strip() or response.reason_phrase)
    if is_unavailable(code):
        return unreachable(server, f"{code} {message}")
    if code == httpx.codes.NOT_FOUND:
        return _missing(message, status.get("details") or {})
    if code == httpx.codes.UNAUTHORIZED:
        return CredentialsError(
            f"the Kubernetes API server {server} does not accept your credentials, they may have expired: log in again"
        )
    if code == httpx.codes.CONFLICT:
        return AlreadyExistsError(message)
    return _forbidden(message) if code == httpx.codes.FORBIDDEN else _refused(message)


def is_missing_object(response: httpx.Response) -> bool:
    """Return whether a response is a 404 about one object, rather than about its resource type or its namespace."""
    details = _status(response).get("details") or {}
    missing = bool(details.get("name")) and details.get("kind") != "namespaces"
    return response.status_code == httpx.codes.NOT_FOUND and missing


def is_unavailable(code: int) -> bool:
    """Return whether a status code means that the API server may answer later."""
    return code == httpx.codes.TOO_MANY_REQUESTS or code >= httpx.codes.INTERNAL_SERVER_ERROR


def unreachable(server: str, reason: object) -> KubernetesUnreachableError:
    """Return the error for an API server that does not answer, for the reason in a message or an exception."""
    why = str(reason) or type(reason).__name__
    return KubernetesUnreachableError(
        f"the Kubernetes API server {server} does not answer ({why}): check your network and your kubeconfig"
    )


def not_installed() -> OperatorNotInstalledError:
    """Return the error for missing custom resource definitions."""
    return OperatorNotInstalledError(
        "this Kubernetes cluster does not know DaskClusters: install the Dask operator, "
        "`helm install dask-operator charts/dask-kubernetes-operator --namespace dask-operator --create-namespace`"
    )


def _status(response: httpx.Response) -> Json:
    """Return the Status object of a response, empty if the response is not the API server's."""
    try:
        status = response.json()
    except ValueError:
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def _missing(message: str, details: Json) -> DaskKubernetesError:
    if details.get("kind") == "namespaces":
        return NamespaceNotFoundError(f"{message}: create it with `kubectl create namespace`, or name another")
    return not_installed()


def _refused(message: str) -> SpecRefusedError:
    return SpecRefusedError(f"Kubernetes rejected the request: {message}")


def _forbidden(message: str) -> DaskKubernetesError:
    """Return the error for a 403, which permissions, quotas and admission share; only the first say "cannot"."""
    if " cannot " not in message:
        if "because it is being terminated" in message:
            return NamespaceNotFoundError(f"{message}: wait until it is gone and create it again, or name another")
        return _refused(message)
    return NotPermittedError(f"{message}: ask your Kubernetes administrator for a Role and its RoleBinding")
