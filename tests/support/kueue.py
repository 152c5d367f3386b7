"""Kueue as a process of this machine, for a real API server. Its webhooks, which only refuse, are not registered."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.dask import make_certificates
from tests.support.kube import Kube, eventually
from tests.support.process import Process
from tests.support.server import free_port
from tests.support.tools import ROOT, tool

from dask_operator.names import QUEUE_LABEL

VERSION = "kueue.x-k8s.io/v1beta2"
_KINDS = tuple(f"{kind}.v1.kubernetes.dask.org" for kind in ("DaskCluster", "DaskWorkerGroup", "DaskJob"))
# It reads those of its metrics from there alone.
_WITH_CERTIFICATES = """set -e
mount -t tmpfs none /etc
mkdir -p /etc/kueue/metrics
ln -s "$0" /etc/kueue/metrics/certs
exec "$@"
"""


@contextmanager
def running(kube: Kube, folder: Path) -> Iterator[None]:
    """Install Kueue's definitions, and run it until the end of the block."""
    kube.run("apply", "--server-side", "--force-conflicts", "--filename", str(_definitions()))
    for kind in ("workloads", "clusterqueues"):
        kube.run("wait", "--for=condition=Established", "--timeout=60s", f"crd/{kind}.kueue.x-k8s.io")
    configuration = folder / "kueue.json"
    configuration.write_text(json.dumps(_configuration(folder)))
    placed = ("unshare", "--mount", "sh", "-c", _WITH_CERTIFICATES, folder / "certificates")
    command = (*placed, tool("kueue"), "--config", configuration, "--feature-gates=VisibilityOnDemand=false")
    environment = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(kube.kubeconfig),
        "POD_NAMESPACE": "default",
        "HOME": str(folder),
    }
    with Process(tuple(map(str, command)), environment, folder / "kueue.log", "Starting workers").started():
        yield


def _definitions() -> Path:
    found = subprocess.run([ROOT / "ci/crds.sh", "kueue"], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())


def _configuration(folder: Path) -> dict[str, Any]:
    certificates = folder / "certificates"
    certificates.mkdir()
    make_certificates(certificates)
    (certificates / "tls.crt").symlink_to("cert.pem")
    (certificates / "tls.key").symlink_to("key.pem")
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{free_port()}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"port": free_port(), "host": "127.0.0.1", "certDir": str(certificates)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "integrations": {"frameworks": ["batch/job"], "externalFrameworks": list(_KINDS)},
    }


def flavor(name: str) -> dict[str, Any]:
    """Return a ResourceFlavor of the fake nodes."""
    spec = {"nodeLabels": {"type": "kwok"}, "tolerations": [{"operator": "Exists"}]}
    return {"apiVersion": VERSION, "kind": "ResourceFlavor", "metadata": {"name": name}, "spec": spec}


def cluster_queue(name: str, cpu: int | str, flavor: str, **spec: Any) -> dict[str, Any]:
    """Return a ClusterQueue with so many CPUs of a flavor, for all namespaces. `spec`: more keys."""
    quota = {"name": "cpu", "nominalQuota": cpu}
    groups = [{"coveredResources": ["cpu"], "flavors": [{"name": flavor, "resources": [quota]}]}]
    whole = {"namespaceSelector": {}, "resourceGroups": groups, **spec}
    return {"apiVersion": VERSION, "kind": "ClusterQueue", "metadata": {"name": name}, "spec": whole}


def local_queue(name: str, of: str) -> dict[str, Any]:
    """Return the queue of a namespace that leads to a ClusterQueue."""
    return {"apiVersion": VERSION, "kind": "LocalQueue", "metadata": {"name": name}, "spec": {"clusterQueue": of}}


def workload_condition(kube: Kube, condition: str, status: str = "True") -> str:
    """Wait until the only Workload of a namespace has a condition, and return its message."""

    def message() -> str:
        found = kube.objects("workloads.kueue.x-k8s.io")
        said = {each["type"]: each for each in (found[0].get("status") or {}).get("conditions") or ()} if found else {}
        return said[condition]["message"] or " " if said.get(condition, {}).get("status") == status else ""

    return eventually(message, f"the Workload is {condition}: {status}")


def queued(manifest: dict[str, Any], resources: Mapping[str, Any], **labels: str) -> dict[str, Any]:
    """Return a cluster or a job in the queue `team`, with these resources for each of its containers."""
    spec = manifest["spec"]
    of_cluster = spec["cluster"]["spec"] if "cluster" in spec else spec
    for part in (of_cluster["scheduler"], of_cluster["worker"], *([spec["job"]] if "job" in spec else [])):
        part["spec"]["containers"][0]["resources"] = resources
    return {**manifest, "metadata": {**manifest["metadata"], "labels": {QUEUE_LABEL: "team", **labels}}}
