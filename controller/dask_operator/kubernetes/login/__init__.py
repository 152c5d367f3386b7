"""Credentials for the API server and the trust in it, from this Pod's ServiceAccount or from a kubeconfig."""

from __future__ import annotations

from collections.abc import Mapping

import kopf

from dask_operator.kubernetes.login import kubeconfig, service_account
from dask_operator.kubernetes.login.credentials import Credentials


class Login:
    """A login that gives the credentials of this process as they are now. Raises kopf.LoginError.

    The first call chooses a kubeconfig's context. Later calls stay with it, whichever is the current one by then:
    clusters of Dask must not be taken for those of another Kubernetes.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._context = ""

    def __call__(self) -> Credentials:
        if found := service_account.read(self._environment):
            return found
        files = kubeconfig.files(self._environment)
        if not files:
            raise kopf.LoginError("no credentials: neither a Pod's ServiceAccount nor KUBECONFIG nor ~/.kube/config")
        context = kubeconfig.read(files, self._context)
        found = kubeconfig.credentials(context, self._environment)
        self._context = context.name
        return found
