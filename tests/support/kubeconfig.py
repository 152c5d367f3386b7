"""Kubeconfigs written by tests, and the credentials of $KUBECONFIG."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kopf


def write_kubeconfig(
    file: Path, server: str, *, namespace: str = "", cluster: Mapping[str, Any] | None = None, **user: Any
) -> Path:
    """Write a kubeconfig of one context, as JSON, a subset of YAML; `user`: its credentials. Return the file."""
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
    """Return the credentials of the cluster of `KUBECONFIG`."""
    info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    assert info, "this test needs a cluster: run it by `make test-api` or `make test-faults`"
    return info
