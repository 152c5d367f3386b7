"""Each refusal of the API server is an error with advice."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tests.client.operator.conftest import Kubeconfig, connected
from tests.support.fake_api import CUT

from dask_kubernetes.exceptions import (
    CredentialsError,
    KubernetesUnreachableError,
    NamespaceNotFoundError,
    NotPermittedError,
    OperatorNotInstalledError,
    SpecRefusedError,
)
from dask_kubernetes.operator.access.errors import AlreadyExistsError
from dask_kubernetes.operator.access.kubernetes import CLUSTER, NODE, SERVICE, Kubernetes
from dask_kubernetes.operator.manifests.spec import make_cluster_spec
from dask_operator import resources

MANIFEST = make_cluster_spec("mine")
Act = Callable[[Kubernetes], Coroutine[Any, Any, Any]]


def create(kubernetes: Kubernetes) -> Coroutine[Any, Any, Any]:
    return kubernetes.create(CLUSTER, MANIFEST, "default")


RBAC = (
    'daskclusters.kubernetes.dask.org is forbidden: User "jane" cannot create resource "daskclusters" in API group '
    '"kubernetes.dask.org" in the namespace "default"'
)
QUOTA = (
    'daskclusters.kubernetes.dask.org "mine" is forbidden: exceeded quota: few, requested: '
    "count/daskclusters.kubernetes.dask.org=1, used: count/daskclusters.kubernetes.dask.org=1, limited: "
    "count/daskclusters.kubernetes.dask.org=1"
)
ENDING = (
    'daskclusters.kubernetes.dask.org "mine" is forbidden: unable to create new content in namespace default because '
    "it is being terminated"
)
WEBHOOK = 'admission webhook "policy.example.com" denied the request: images must come from registry.example.com'


@pytest.mark.parametrize(
    ("status", "message", "error", "advice"),
    [
        (403, RBAC, NotPermittedError, "a Role and its RoleBinding"),
        (403, QUOTA, SpecRefusedError, "exceeded quota: few"),
        (403, ENDING, NamespaceNotFoundError, "wait until it is gone"),
        (403, WEBHOOK, SpecRefusedError, "images must come from"),
        (400, WEBHOOK, SpecRefusedError, "images must come from"),
        (
            422,
            "spec.worker: Required value",
            SpecRefusedError,
            "rejected the request: spec.worker: Required",
        ),
        (409, "it exists", AlreadyExistsError, "it exists"),
        (401, "Unauthorized", CredentialsError, "log in again"),
        (429, "too many requests", KubernetesUnreachableError, "429 too many requests"),
        (500, "etcdserver: request timed out", KubernetesUnreachableError, "500 etcdserver: request timed out"),
        (503, "apiserver not ready", KubernetesUnreachableError, "check your network"),
        (CUT, "", KubernetesUnreachableError, "check your network"),
    ],
)
async def test_a_refusal_is_an_error_that_says_what_to_do(
    kubeconfig: Kubeconfig, status: int, message: str, error: type[Exception], advice: str
) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.fail("POST", resources.CLUSTER, status, message=message, times=2)
        with pytest.raises(error) as raised:
            await create(kubernetes)
        assert advice in str(raised.value)
        assert message in str(raised.value) or status == 401


async def test_what_is_no_answer_of_kubernetes_is_said_as_it_is(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.fail("GET", resources.CLUSTER, 502, text="<html>Bad Gateway</html>")
        with pytest.raises(KubernetesUnreachableError, match="502 <html>Bad Gateway</html>"):
            await kubernetes.get(CLUSTER, "mine", "default")
        fake.fail("GET", resources.CLUSTER, 404, text='["a list"]')
        with pytest.raises(OperatorNotInstalledError):
            await kubernetes.get(CLUSTER, "mine", "default")


@pytest.mark.parametrize("act", [create, lambda k: k.get(CLUSTER, "mine", "default"), lambda k: k.list(CLUSTER, None)])
async def test_without_the_operators_definitions_it_says_how_to_install_them(kubeconfig: Kubeconfig, act: Act) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.absent_groups = {"kubernetes.dask.org"}
        with pytest.raises(OperatorNotInstalledError, match="helm install"):
            await act(kubernetes)


async def test_a_namespace_that_is_not_there(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.absent_namespaces = {"nowhere"}
        with pytest.raises(NamespaceNotFoundError, match='namespaces "nowhere" not found: create it with'):
            await kubernetes.create(CLUSTER, MANIFEST, "nowhere")
        assert await kubernetes.list(CLUSTER, "nowhere") == []


async def test_a_verb_and_a_resource_that_are_not_permitted_are_named(kubeconfig: Kubeconfig) -> None:
    async with connected(kubeconfig) as (fake, kubernetes):
        fake.refuses = lambda seen: seen.plural == "nodes"
        with pytest.raises(NotPermittedError, match='cannot list resource "nodes"'):
            await kubernetes.list(NODE, None)
        assert await kubernetes.list(SERVICE, "default") == []


# Patience
