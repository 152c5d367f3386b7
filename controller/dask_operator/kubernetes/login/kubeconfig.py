"""Kubeconfigs, as kubectl reads them: several files are one, and relative paths begin at their file's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf
import yaml

from dask_operator.kubernetes.login import exec_plugin
from dask_operator.kubernetes.login.credentials import Credentials
from dask_operator.model import Json

_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_PRIORITY = 10
"""The priority of kopf's own login by a kubeconfig."""


@dataclass(frozen=True, slots=True)
class Context:
    """A context: its name, cluster, user and namespace, and the folder of the user's file."""

    name: str
    cluster: Json
    user: Json
    namespace: str
    folder: Path


def files(environment: Mapping[str, str]) -> list[Path]:
    """Return the kubeconfigs of kubectl."""
    if listed := environment.get("KUBECONFIG"):
        return [Path(file.strip()).expanduser() for file in listed.split(os.pathsep) if file.strip()]
    default = Path("~/.kube/config").expanduser()
    return [default] if default.exists() else []


def read(paths: Sequence[Path], name: str = "") -> Context:
    """Return a context of the kubeconfigs, by default the current one. Raises kopf.LoginError."""
    try:
        documents = [(path, yaml.safe_load(path.read_text(encoding="utf-8")) or {}) for path in paths]
        name = name or next((str(each["current-context"]) for _, each in documents if each.get("current-context")), "")
        if not name:
            raise kopf.LoginError(f"the kubeconfig {_shown(paths)} has no current context")
        context, _ = _entry(documents, "context", name)
        cluster, _ = _entry(documents, "cluster", context.get("cluster"))
        user, folder = _entry(documents, "user", context.get("user"))
    except (OSError, ValueError, AttributeError, TypeError, LookupError, yaml.YAMLError) as error:
        raise kopf.LoginError(f"the kubeconfig {_shown(paths)} cannot be read: {error}") from error
    return Context(name, cluster, user, str(context.get("namespace") or ""), folder)


def credentials(context: Context, environment: Mapping[str, str]) -> Credentials:
    """Return the credentials of a context. Raises kopf.LoginError, also if its credential plugin fails."""
    cluster, user = context.cluster, context.user
    issued = exec_plugin.Issued()
    if user.get("exec"):
        issued = exec_plugin.run(user["exec"], cluster, context.folder, environment)
    try:
        return Credentials(
            server=str(cluster["server"]),
            server_name=str(cluster.get("tls-server-name") or ""),
            ca_path=None if cluster.get("certificate-authority-data") else cluster.get("certificate-authority"),
            ca_data=cluster.get("certificate-authority-data"),
            insecure=cluster.get("insecure-skip-tls-verify"),
            proxy_url=cluster.get("proxy-url"),
            username=user.get("username"),
            password=user.get("password"),
            token=issued.token or _token(user),
            certificate_path=None if _certificate(user, issued) else user.get("client-certificate"),
            certificate_data=_certificate(user, issued),
            private_key_path=None if _key(user, issued) else user.get("client-key"),
            private_key_data=_key(user, issued),
            expiration=issued.expiration,
            default_namespace=context.namespace or None,
            priority=_PRIORITY,
        )
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise kopf.LoginError(f"the context {context.name} of the kubeconfig is incomplete: {error}") from error


def _token(user: Json) -> str | None:
    """Return the token; as in kubectl, that of a file counts."""
    if user.get("tokenFile"):
        return Path(user["tokenFile"]).read_text(encoding="utf-8").strip()
    found = user.get("token") or _provider(user).get("access-token") or _provider(user).get("id-token")
    return str(found) if found else None


def _provider(user: Json) -> Json:
    return (user.get("auth-provider") or {}).get("config") or {}


def _certificate(user: Json, issued: exec_plugin.Issued) -> str | None:
    return issued.certificate or user.get("client-certificate-data")


def _key(user: Json, issued: exec_plugin.Issued) -> str | None:
    return issued.key or user.get("client-key-data")


def _entry(documents: Sequence[tuple[Path, Any]], kind: str, name: Any) -> tuple[dict[str, Any], Path]:
    """Return the first entry of a name, with whole paths, and its file's folder."""
    for path, document in documents:
        for entry in document.get(f"{kind}s") or ():
            if entry.get("name") == name:
                folder = path.absolute().parent
                found = entry.get(kind) or {}
                paths = {key: str(folder / found[key]) for key in _PATHS if found.get(key)}
                return {**found, **paths}, folder
    raise LookupError(f"there is no {kind} {name}")


def _shown(paths: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, paths))
