"""The fields of a Pod that comply with Kubernetes' Pod Security Standard `restricted`, as in the chart of clusters."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from dask_kubernetes.operator.manifests.fields import Manifest

_POD: Mapping[str, Any] = {
    "automountServiceAccountToken": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
_CONTAINER: Mapping[str, Any] = {
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
}
# Where this user can write in every image, for packages that are installed when a container starts.
_HOME = {"name": "HOME", "value": "/tmp"}  # noqa: S108


def restricted(spec: Mapping[str, Any]) -> Manifest:
    """Return a Pod's spec with the fields that the standard needs. Fields that the spec has stay as they are."""
    parts = {part: _contained(spec[part]) for part in ("containers", "initContainers") if spec.get(part)}
    return {**copy.deepcopy(dict(_POD)), **spec, **parts}


def with_home(variables: Sequence[Mapping[str, Any]]) -> list[Manifest]:
    """Return environment variables in which HOME is set, by default to a folder that any user can write to."""
    known = [dict(each) for each in variables]
    return known if any(each["name"] == _HOME["name"] for each in known) else [*known, dict(_HOME)]


def inherited(pod: Mapping[str, Any], container: Mapping[str, Any]) -> tuple[Manifest, Manifest]:
    """Return the fields of this module that a Pod and its container have, None for those that they do not have."""
    return {field: pod.get(field) for field in _POD}, {field: container.get(field) for field in _CONTAINER}


def _contained(containers: Sequence[Mapping[str, Any]]) -> list[Manifest]:
    return [{**copy.deepcopy(dict(_CONTAINER)), **container} for container in containers]
