"""Every example of the cluster's chart that can run here installs, computes, changes, and leaves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.conftest import Image
from tests.e2e.release import EXAMPLES, Release
from tests.support.helm import Helm
from tests.support.kube import CommandError, Kube, eventually

Check = Callable[[Release], object]


@dataclass(frozen=True)
class Trial:
    """The trial of an example: a check that it computes, a change by --set, and a check of the change."""

    change: str
    arrives: Check
    computes: Check = Release.test
    here: str = "worker.replicas=1"
    """Settings for the single small node."""


def _workers(number: int, group: str = "default", said: str = "") -> Check:
    """Return a check for so many workers with this text in their specs."""
    return lambda release: release.settles(number, group, lambda spec: said in spec)


def _written(kind: str, said: str, suffix: str = "") -> Check:
    """Return a check for an object of the release with this text in its spec."""

    def look(release: Release) -> None:
        assert said in str((release.kube.get(kind, f"{release.name}{suffix}") or {})["spec"])

    return look


def _job_succeeds(release: Release) -> None:
    release.kube.wait_for_condition("daskjob", release.name, "Complete", "Completed")
    assert "332833500" in release.kube.run("logs", f"{release.name}-runner")


LOOK = """
import pathlib, dask
assert any(pathlib.Path("/data").iterdir())
settings = pathlib.Path("/etc/settings/settings.toml").read_text()
print(settings, dask.config.get("distributed.scheduler.allowed-failures"))
"""


def _files_and_configuration(release: Release) -> None:
    """Check the volumes of the new worker."""

    def look() -> list[str]:
        try:
            (worker,) = release.workers()
            return release.kube.run("exec", worker, "--", "python", "-c", LOOK).split()
        except (ValueError, CommandError) as error:
            return [str(error)]

    eventually(lambda: look() == ["x=1", "20"], "a worker with the new configuration")
    release.settles(1)


TRIED = {
    "adaptive": Trial("worker.autoscaler.minimum=2", _workers(2), here="worker.autoscaler.maximum=2"),
    "data": Trial("config.distributed.scheduler.allowed-failures=20", _files_and_configuration),
    "highmem": Trial(
        "workerGroups.highmem.replicas=2",
        _workers(2, "highmem"),
        here="worker.replicas=1,workerGroups.highmem.replicas=1,"
        "workerGroups.highmem.resources.requests.cpu=50m,workerGroups.highmem.resources.requests.memory=256Mi",
    ),
    "ingress": Trial(
        "scheduler.ingress.host=another.example.com", _written("ingress", "another.example.com", "-scheduler")
    ),
    "job": Trial(
        "job.ttlSecondsAfterFinished=3600", _written("daskjob", "'ttlSecondsAfterFinished': 3600"), _job_succeeds
    ),
    "kubeflow": Trial("idleTimeout=7200", _written("daskcluster", "'idleTimeout': 7200")),
    "private-registry": Trial("worker.replicas=2", _workers(2)),
    "spot": Trial(
        "worker.lifetime=10 hours",
        _workers(1, said="10 hours"),
        # The one node cannot be of both kinds.
        here="worker.replicas=1,worker.nodeSelector=null",
    ),
    "workflow": Trial("worker.autoscaler.minimum=3", _workers(3), here="worker.nodeSelector=null"),
}
# Why an example cannot run here, or where it runs.
NOT_TRIED = {
    "gpu": "a node with a GPU",
    "httproute": "a Gateway and its CRDs",
    "jupyter": "tests/e2e/test_jupyter.py",
    "tls": "tests/e2e/test_tls.py",
    "tls-cert-manager": "cert-manager",
}


def test_it_is_known_of_every_example_whether_it_is_tried() -> None:
    assert sorted([*TRIED, *NOT_TRIED]) == sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


@pytest.fixture
def named(kube: Kube) -> Iterator[None]:
    """Create the objects that examples require before their installation."""
    kube.run("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    volume = f"{kube.namespace}-data"
    claimed = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    # Every node has this folder, and reading changes nothing.
    folder = {"path": "/usr/share", "type": "Directory"}
    claim = {"namespace": kube.namespace, "name": "data"}
    size = {"storage": "1Gi"}
    kube.apply(
        _named("PersistentVolume", volume, spec={**claimed, "capacity": size, "hostPath": folder, "claimRef": claim}),
        _named(
            "PersistentVolumeClaim", "data", spec={**claimed, "resources": {"requests": size}, "volumeName": volume}
        ),
        _named("ConfigMap", "settings", data={"settings.toml": "x=1"}),
        _named("Secret", "demeter", stringData={"token": "secret"}),
        _named("ServiceAccount", "demeter"),
        _named("ServiceAccount", "default-editor"),
        _named(
            "Secret",
            "regcred",
            type="kubernetes.io/dockerconfigjson",
            stringData={".dockerconfigjson": '{"auths": {"registry.example.com": {"auth": ""}}}'},
        ),
    )
    yield
    kube.run("delete", "persistentvolume", volume, "--wait=false")


def _named(kind: str, name: str, **content: object) -> Mapping[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("example", TRIED)
def test_an_example_is_installed_computes_is_changed_and_leaves_nothing(
    example: str, kube: Kube, helm: Helm, dask_image: Image
) -> None:
    trial, path = TRIED[example], EXAMPLES / f"{example}.yaml"
    release = Release(kube, helm, dask_image, _name(path))
    release.install("--values", str(path), "--set", trial.here)
    trial.computes(release)
    release.upgrade("--set", trial.change)
    trial.arrives(release)
    release.uninstall()


def _name(example: Path) -> str:
    """Return the release's name in the example's own command."""
    return example.read_text().splitlines()[1].split()[3]
