"""Pods as the API server gets them, and Kubernetes' Pod Security Standard `restricted` for them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.manifests import dask_cluster

from dask_operator import manifests, parse

Json = dict[str, Any]
_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
}


def pods_of(given: Mapping[str, Any]) -> Iterator[Json]:
    """Yield the Pods of a manifest as the API server gets them: from a chart's own template, or from the controller."""
    manifest = copy.deepcopy(dict(given))
    manifest["metadata"] |= {"namespace": "", "uid": "x"}
    match manifest["kind"]:
        case "Pod":
            yield manifest
        case "Deployment":
            yield _pod(manifest["spec"]["template"])
        case "DaskCluster":
            cluster = parse.cluster(manifest)
            yield _pod(manifests.deployment_manifest(cluster)["spec"]["template"])
            yield from manifests.worker_manifests(cluster, parse.group(manifests.group_manifest(cluster)), [0], 0)
        case "DaskWorkerGroup":
            owner = dask_cluster("release", 1)
            yield from manifests.worker_manifests(parse.cluster(owner), parse.group(manifest), [0], 0)
        case "DaskJob":
            job = parse.job(manifest)
            made = manifests.job_cluster_manifest(job)
            yield manifests.runner_manifest(job, parse.cluster(made), 0)
            yield from pods_of(made)


def violations(pod: Mapping[str, Any]) -> list[str]:
    """Return what of a Pod the standard refuses, and whether it has a token of its ServiceAccount."""
    spec = pod["spec"]
    found = [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    found += [f"volume {name}" for each in spec.get("volumes", ()) for name in each.keys() - {"name"} - _VOLUMES]
    if spec.get("automountServiceAccountToken") is not False:
        found.append("a token")
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        found += [
            f"{container['name']}: {what}" for what in _of_container(container, spec.get("securityContext") or {})
        ]
    return found


def _of_container(container: Mapping[str, Any], of_pod: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext") or {}
    both = {**of_pod, **own}
    capabilities = own.get("capabilities") or {}
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield "privileges"
    if "ALL" not in (capabilities.get("drop") or ()) or set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield "capabilities"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
        yield "root"
    if (both.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccomp"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield "hostPort"


def _pod(template: Mapping[str, Any]) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", **template}
