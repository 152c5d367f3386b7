"""The controller's ServiceAccount in a namespace, with the permissions of the chart's Role and a token."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
from tests.support.kube import PATIENCE
from tests.support.kubeconfig import write_kubeconfig
from tests.support.wait import until_seen

from dask_operator.kubernetes.api import Api
from dask_operator.resources import CLUSTER, RULES

NAME = "controller"
_RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"


async def make(api: Api, namespace: str, url: str, file: Path) -> None:
    """Write a kubeconfig with which the account connects to `url`."""
    await api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": NAME}})
    await api.request("POST", f"{_RBAC}/{namespace}/roles", {"metadata": {"name": NAME}, "rules": _rules()})
    await permit(api, namespace)
    await give_token(api, namespace, url, file)

    async def permitted() -> bool:
        what = {"namespace": namespace, "verb": "list", "group": CLUSTER.group, "resource": CLUSTER.plural}
        spec = {"user": f"system:serviceaccount:{namespace}:{NAME}", "resourceAttributes": what}
        review = await api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
        return bool(review.body["status"]["allowed"])

    # A controller that is refused at first makes more requests than others.
    await until_seen(permitted, "the permissions are in force", PATIENCE)


async def permit(api: Api, namespace: str) -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
    binding = {"metadata": {"name": NAME}, "roleRef": reference, "subjects": [subject]}
    await api.request("POST", f"{_RBAC}/{namespace}/rolebindings", binding)


async def forbid(api: Api, namespace: str) -> None:
    """Remove all permissions."""
    await api.request("DELETE", f"{_RBAC}/{namespace}/rolebindings/{NAME}")


async def give_token(api: Api, namespace: str, url: str, file: Path) -> None:
    """Create a token that ends with a Secret, which `take_token` deletes."""
    secret = await api.request("POST", f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": NAME}})
    bound = {"apiVersion": "v1", "kind": "Secret", "name": NAME, "uid": secret.body["metadata"]["uid"]}
    where = f"/api/v1/namespaces/{namespace}/serviceaccounts/{NAME}/token"
    made = await api.request("POST", where, {"spec": {"boundObjectRef": bound}})
    write_kubeconfig(file, url, token=made.body["status"]["token"])


async def take_token(api: Api, namespace: str, url: str, token: str) -> None:
    """Delete a token's Secret, and wait until the API server, which caches tokens for some seconds, refuses it."""
    await api.request("DELETE", f"/api/v1/namespaces/{namespace}/secrets/{NAME}")

    async def refused() -> bool:
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as session, session.get(f"{url}/version", headers=headers) as reply:
            return reply.status == 401

    await until_seen(refused, "the token is refused", PATIENCE)


def _rules() -> list[dict[str, Any]]:
    verbs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for group, resource, verb in sorted(RULES):
        verbs[group, resource].append(verb)
    return [{"apiGroups": [g], "resources": [r], "verbs": list_} for (g, r), list_ in verbs.items()]
