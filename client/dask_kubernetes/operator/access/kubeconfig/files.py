"""A context of one kubeconfig, or of several that are merged by kubectl's rules."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Json = Mapping[str, Any]

_PATHS = {"cluster": ("certificate-authority",), "user": ("client-certificate", "client-key", "tokenFile")}


@dataclass(frozen=True)
class Context:
    """A context with its cluster and user, in which all paths are absolute. A context without a user is anonymous."""

    name: str
    namespace: str
    cluster: Json
    user: Json


def read(kubeconfig: str, name: str | None = None) -> Context | None:
    """Return a context of the files in `kubeconfig`, a path or several as in KUBECONFIG; None if they have nothing.

    By default it is the current context. Raises an error of any kind, as the files may have any content.
    """
    files = [each for each in kubeconfig.split(os.pathsep) if each]
    documents = [(Path(file).expanduser().absolute().parent, _document(Path(file).expanduser())) for file in files]
    if not any(document for _, document in documents):
        return None
    name = name or next((str(found) for _, each in documents if (found := each.get("current-context"))), "")
    if not name:
        raise ValueError("it has no current context: choose one with `kubectl config use-context`")
    context = _named(documents, "context", name)
    if not context.get("cluster"):
        raise ValueError(f"its context {name} has no cluster")
    cluster, user = _named(documents, "cluster", context["cluster"]), context.get("user")
    if not cluster.get("server"):
        raise ValueError(f"its cluster {context['cluster']} has no server")
    namespace = context.get("namespace") or "default"
    return Context(name, namespace, cluster, _named(documents, "user", user) if user else {})


def _document(file: Path) -> Json:
    if not file.exists():
        return {}
    found = yaml.safe_load(file.read_text()) or {}
    if not isinstance(found, Mapping):
        raise TypeError(f"{file} is no kubeconfig")
    return found


def _named(documents: list[tuple[Path, Json]], kind: str, name: str) -> Json:
    """Return the first cluster, user or context of a name."""
    for folder, document in documents:
        for each in document.get(f"{kind}s") or ():
            if str(each["name"]) == str(name):
                return dict(_absolute(folder, kind, each.get(kind) or {}))
    raise ValueError(f"it has no {kind} {name}")


def _absolute(folder: Path, kind: str, entry: Json) -> Iterator[tuple[str, Any]]:
    for key, value in entry.items():
        if key in _PATHS.get(kind, ()) and value:
            yield key, str(folder / value)
        elif key == "exec" and value and os.path.basename(value["command"]) != value["command"]:
            yield key, {**value, "command": str(folder / value["command"])}
        else:
            yield key, value
