"""Troubles that administrators and machines cause: in the API server, in permissions, and in admission."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tests.faults import account
from tests.faults.stories import Slot
from tests.faults.trouble import Trouble
from tests.support.kube import PATIENCE
from tests.support.wait import until_seen

from dask_operator.kubernetes.errors import ApiError
from dask_operator.resources import POD

_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_CONTAINER = {"name": "a", "image": "a"}
_PODS = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
CLUSTER = Path(__file__).parents[2] / "ci/cluster/cluster"


class Forbidden(Trouble):
    """All permissions are taken, and given back."""

    async def begin(self, slot: Slot) -> None:
        await account.forbid(slot.api, slot.namespace)
        slot.proxy.cut()

    async def end(self, slot: Slot) -> None:
        await account.permit(slot.api, slot.namespace)


class Expired(Trouble):
    """The token is refused. Later its file has another one."""

    async def begin(self, slot: Slot) -> None:
        token = yaml.safe_load(slot.kubeconfig.read_text())["users"][0]["user"]["token"]
        await account.take_token(slot.api, slot.namespace, slot.proxy.url, token)

    async def end(self, slot: Slot) -> None:
        await account.give_token(slot.api, slot.namespace, slot.proxy.url, slot.kubeconfig)


class Quota(Trouble):
    """A quota allows no Pods beyond the existing ones, and no Service."""

    async def begin(self, slot: Slot) -> None:
        hard = {"pods": "4", "services": "0"}
        where = f"/api/v1/namespaces/{slot.namespace}/resourcequotas"
        await slot.api.request("POST", where, {"metadata": {"name": "few"}, "spec": {"hard": hard}})

        async def in_force() -> bool:
            return bool((await slot.api.request("GET", f"{where}/few")).body.get("status", {}).get("hard"))

        await until_seen(in_force, "the quota is in force", PATIENCE)

    async def end(self, slot: Slot) -> None:
        await slot.api.request("DELETE", f"/api/v1/namespaces/{slot.namespace}/resourcequotas/few")


class Admission(Trouble):
    """No Pod is admitted. `said`: the API server's message."""

    def __init__(self, said: str, *configurations: tuple[str, dict[str, Any]]) -> None:
        super().__init__()
        self._said = said
        self._configurations = configurations

    async def begin(self, slot: Slot) -> None:
        for plural, spec in self._configurations:
            body = {"metadata": {"name": slot.namespace}, **_about(slot.namespace, spec)}
            await slot.api.request("POST", f"{_ADMISSION}/{plural}", body)
        await until_seen(lambda: self._in_force(slot), "no Pod is admitted", PATIENCE)

    async def end(self, slot: Slot) -> None:
        for plural, _ in self._configurations:
            await slot.api.request("DELETE", f"{_ADMISSION}/{plural}/{slot.namespace}")

    async def _in_force(self, slot: Slot) -> bool:
        pod = {"metadata": {"name": "tried", "namespace": slot.namespace}, "spec": {"containers": [_CONTAINER]}}
        try:
            await slot.api.create(POD, {"apiVersion": "v1", "kind": "Pod", **pod}, dry_run=True)
        except ApiError as error:
            return self._said in error.message
        return False


class EtcdPaused(Trouble):
    """The API server can neither read nor write."""

    async def last(self, seconds: float) -> None:
        await _cluster("pause", str(int(seconds)))
        self.hits += 1


class Restarted(Trouble):
    """The API server is killed, and restarts."""

    async def last(self, seconds: float) -> None:
        await _cluster("restart")
        await asyncio.sleep(seconds)


async def _cluster(verb: str, *arguments: str) -> None:
    name = Path(os.environ["KUBECONFIG"]).parent.name
    process = await asyncio.create_subprocess_exec(CLUSTER, verb, name, *arguments)
    assert await process.wait() == 0


def _about(namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Limit a policy's spec to one namespace."""
    text = yaml.safe_dump(spec).replace("NAMESPACE", namespace)
    about: dict[str, Any] = yaml.safe_load(text)
    return about


_NO_PODS, _NOBODY = "no Pods today", "nobody.listens.here"
_HERE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "NAMESPACE"}}}
_POLICY = (
    "validatingadmissionpolicies",
    {
        "spec": {
            "matchConstraints": {"resourceRules": _PODS, **_HERE},
            "validations": [{"expression": "false", "message": _NO_PODS}],
        }
    },
)
_BINDING = ("validatingadmissionpolicybindings", {"spec": {"policyName": "NAMESPACE", "validationActions": ["Deny"]}})
_WEBHOOK = (
    "validatingwebhookconfigurations",
    {
        "webhooks": [
            {
                "name": _NOBODY,
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "rules": _PODS,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                **_HERE,
            }
        ]
    },
)

OUTAGES: dict[str, Callable[[], Trouble]] = {
    "permissions withdrawn": Forbidden,
    "token expired": Expired,
    "quota exceeded": Quota,
    "Pods refused by an admission policy": lambda: Admission(_NO_PODS, _POLICY, _BINDING),
    "admission webhook unreachable": lambda: Admission(_NOBODY, _WEBHOOK),
}
OF_ALL: dict[str, Callable[[], Trouble]] = {"etcd paused": EtcdPaused, "API server restarted": Restarted}
"""Troubles of the whole cluster."""
