"""Credential plugins, the programs under `exec` in a kubeconfig."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dask_kubernetes.operator.access.kubeconfig.certificates import authority

Json = Mapping[str, Any]

_INFO = "KUBERNETES_EXEC_INFO"
_EXTENSION = "client.authentication.k8s.io/exec"
_OF_CLUSTER = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")


def run(plugin: Json, cluster: Json) -> tuple[Json, float | None]:
    """Run a plugin. Return fields of a kubeconfig's user, and when the credentials end, None if it does not say.

    The plugin may ask the user at a terminal, and its messages go to stderr, as with kubectl. Raises ValueError or
    OSError.
    """
    interactive = plugin.get("interactiveMode") != "Never" and sys.stdin is not None and sys.stdin.isatty()
    if plugin.get("interactiveMode") == "Always" and not interactive:
        raise ValueError(f"the credential plugin {plugin['command']} needs a terminal")
    ended = subprocess.run(  # noqa: S603 - the user's kubeconfig names it, as for kubectl
        [plugin["command"], *(plugin.get("args") or ())],
        env={**os.environ, **_variables(plugin), _INFO: json.dumps(_info(plugin, cluster, interactive))},
        stdin=None if interactive else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    if ended.returncode:
        raise ValueError(f"the credential plugin {plugin['command']} failed with exit code {ended.returncode}")
    return _credentials(plugin, ended.stdout)


def _variables(plugin: Json) -> dict[str, str]:
    return {each["name"]: each["value"] for each in plugin.get("env") or ()}


def _info(plugin: Json, cluster: Json, interactive: bool) -> Json:
    """Return what a plugin is told, by the variable KUBERNETES_EXEC_INFO."""
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = _cluster(cluster)
    return {"kind": "ExecCredential", "apiVersion": plugin.get("apiVersion"), "spec": spec}


def _cluster(cluster: Json) -> Json:
    known = {field: cluster[field] for field in _OF_CLUSTER if field in cluster}
    if content := authority(cluster):
        known["certificate-authority-data"] = base64.b64encode(content).decode()
    extensions = {each["name"]: each["extension"] for each in cluster.get("extensions") or ()}
    return {**known, **({"config": extensions[_EXTENSION]} if _EXTENSION in extensions else {})}


def _credentials(plugin: Json, answer: bytes) -> tuple[Json, float | None]:
    try:
        status = json.loads(answer)["status"]
        ends = status.get("expirationTimestamp")
        user = {
            "token": status.get("token"),
            "client-certificate-data": status.get("clientCertificateData"),
            "client-key-data": status.get("clientKeyData"),
        }
        if not any(user.values()):
            raise KeyError("status")
        return user, datetime.fromisoformat(ends).timestamp() if ends else None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the credential plugin {plugin['command']} returned no credentials") from error
