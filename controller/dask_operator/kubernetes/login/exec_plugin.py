"""Credential plugins: programs that a kubeconfig names, and that print credentials, such as `aws eks get-token`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import kopf

from dask_operator.model import Json

_TIMEOUT = 60.0
_EXTENSION = "client.authentication.k8s.io/exec"
_CLUSTER = (
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority-data",
    "proxy-url",
)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Issued:
    """The answer of a plugin. Without a time of its own it holds until the API server refuses it."""

    token: str = ""
    certificate: str = ""
    key: str = ""
    expiration: datetime | None = None


def run(spec: Json, cluster: Json, folder: Path, environment: Mapping[str, str]) -> Issued:
    """Run the plugin of a kubeconfig in `folder`. Raises kopf.LoginError."""
    try:
        command = _command(str(spec["command"]), folder)
        finished = subprocess.run(  # noqa: S603 - its owner wrote the kubeconfig, as for kubectl
            [command, *map(str, spec.get("args") or ())],
            env={**environment, **{str(each["name"]): str(each["value"]) for each in spec.get("env") or ()}}
            | {"KUBERNETES_EXEC_INFO": json.dumps(_request(spec, cluster))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=True,
        )
        return _issued(json.loads(finished.stdout)["status"])
    except FileNotFoundError as error:
        hint = f"; {spec['installHint']}" if spec.get("installHint") else ""
        raise kopf.LoginError(f"the kubeconfig's credential plugin {spec['command']} is not here{hint}") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()[-1000:]
        raise kopf.LoginError(f"the kubeconfig's credential plugin {spec['command']} failed: {said}") from error
    except (OSError, subprocess.TimeoutExpired, ValueError, AttributeError, TypeError, KeyError) as error:
        raise kopf.LoginError(f"the kubeconfig's credential plugin gives no credentials: {error!r}") from error


def _command(named: str, folder: Path) -> str:
    """Return the program; as in kubectl, one with a folder in its name begins at the kubeconfig's."""
    return str(folder / named) if os.sep in named else named


def _request(spec: Json, cluster: Json) -> Json:
    """Return what a plugin reads in its environment."""
    asked: dict[str, object] = {"interactive": False}
    if spec.get("provideClusterInfo"):
        extensions = cluster.get("extensions") or ()
        config = next((each.get("extension") for each in extensions if each.get("name") == _EXTENSION), None)
        given = {key: cluster[key] for key in _CLUSTER if cluster.get(key)}
        asked["cluster"] = given | ({"config": config} if config else {})
    return {"apiVersion": spec["apiVersion"], "kind": "ExecCredential", "spec": asked}


def _issued(status: Json) -> Issued:
    ends = status.get("expirationTimestamp")
    issued = Issued(
        token=str(status.get("token") or ""),
        certificate=str(status.get("clientCertificateData") or ""),
        key=str(status.get("clientKeyData") or ""),
        expiration=datetime.fromisoformat(str(ends)) if ends else _NEVER,
    )
    if not issued.token and not issued.certificate:
        raise ValueError("its answer has neither a token nor a certificate")
    return issued
