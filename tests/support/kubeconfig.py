"""Kubeconfigs that tests write, and what the one says by which they are run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kopf


def write_kubeconfig(
    file: Path, server: str, *, namespace: str = "", cluster: Mapping[str, Any] | None = None, **user: Any
) -> Path:
    """Writes a kubeconfig of one context, as JSON, which is YAML; `user`: how one logs in. Returns the file."""
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
    }
    file.write_text(json.dumps(config))
    return file


def credentials() -> kopf.ConnectionInfo:
    """Returns those of the cluster that `KUBECONFIG` leads to."""
    info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    assert info, "this test needs a cluster: run it by `make test-api` or `make test-faults`"
    return info
