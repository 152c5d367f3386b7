"""The migration of a Kubernetes cluster from the operator of dask-kubernetes, by the exact commands of UPGRADING.md.

The old operator is the released one, installed by its own chart on its own CRDs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from tests.e2e.conftest import OPERATOR_NAMESPACE, Image, lives
from tests.e2e.programs import QUICKSTART, Machine, last_line
from tests.e2e.session import Session
from tests.support.helm import CHARTS, Helm
from tests.support.kube import CommandError, Kube, eventually
from tests.support.manifests import dask_autoscaler, dask_cluster, dask_job

OLD_RELEASE, NEW_RELEASE = "dask-kubernetes-operator", "dask-operator"
KINDS = ("daskclusters", "daskworkergroups", "daskjobs", "daskautoscalers")
CRDS = tuple(f"{kind}.kubernetes.dask.org" for kind in KINDS)
RESULTS = 60
_TIMEOUT = re.compile(r"--timeout=\d+s")
# Runs until a signal, like a program of several days. It may start before its scheduler.
PROGRAM = """
import os, time
from dask.distributed import Client
client = Client(timeout="240s")
while not os.path.exists("/tmp/go"):
    time.sleep(0.1)
print(client.submit(sum, range(1000)).result())
"""


@dataclass(frozen=True)
class Guide:
    """UPGRADING.md, done in a folder. The beginning of a heading names a step."""

    folder: Path
    kube: Kube

    def do(self, step: str, block: int = 0) -> None:
        """Run the commands of one of the step's blocks, with time for a busy machine. Raises CommandError."""
        text = (CHARTS.parent / "UPGRADING.md").read_text()
        (section,) = re.findall(rf"^## {re.escape(step)}.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        commands = re.findall(r"```console\n(.*?)```", section, re.DOTALL)[block]
        for command in re.findall(r"^\$ ((?:.*\\\n)*.*)", commands, re.MULTILINE):
            self._run(_TIMEOUT.sub("--timeout=300s", command))

    def _run(self, command: str) -> None:
        environment = os.environ | {"KUBECONFIG": str(self.kube.kubeconfig)}
        shell = ["bash", "-o", "pipefail", "-c", command]
        done = subprocess.run(
            shell, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=360, check=False
        )
        if done.returncode:
            raise CommandError(f"{command}\n{done.stdout}{done.stderr}")

    def save(self, dask_image: Image) -> None:
        """Do step 1, with this repository's images instead of released ones."""
        self.do("1.")
        values = yaml.safe_load((self.folder / "values.yaml").read_text())
        image = Image.from_environment("OPERATOR_IMAGE")
        values["image"] = {"name": image.name, "tag": image.tag}
        values["test"] = {"image": {"name": dask_image.name, "tag": dask_image.tag}}
        (self.folder / "values.yaml").write_text(yaml.safe_dump(values))

    def move(self) -> None:
        self.do("2.")
        self.do("3.")
        self.do("4.")

    def finish(self) -> None:
        self.do("5.")
        self.do("6.")


@pytest.fixture
def guide(kube: Kube, tmp_path: Path) -> Guide:
    (tmp_path / "charts").symlink_to(CHARTS)
    return Guide(tmp_path, kube)


@pytest.fixture(autouse=True)
def operator(kube: Kube, helm: Helm) -> Iterator[None]:
    """The old operator on its own CRDs. At the end any operator and all CRDs are deleted."""
    chart, image = os.environ.get("INCUMBENT_CHART"), Image.from_environment("INCUMBENT_IMAGE")
    if not chart:
        pytest.fail("INCUMBENT_CHART names no chart: run this by `make test-migration`")
    where = ("--namespace", OPERATOR_NAMESPACE)
    settings = ("--set-string", f"image.name={image.name},image.tag={image.tag}")
    helm.run("install", OLD_RELEASE, chart, *where, "--create-namespace", *settings, "--wait")
    yield
    for release in (OLD_RELEASE, NEW_RELEASE):
        helm.run("uninstall", release, *where, "--ignore-not-found", "--wait")
    # A running operator would put its finalizers back.
    operators = replace(kube, namespace=OPERATOR_NAMESPACE)
    eventually(lambda: not operators.names("pods"), "no operator runs")
    for kind in KINDS:
        for name in kube.names(kind):
            kube.run("patch", kind, name, "--type=merge", "--patch", '{"metadata": {"finalizers": null}}')
    kube.run("delete", "crds", *CRDS)


def _deployed(kube: Kube, cluster: str) -> set[str]:
    """Return the workers with Deployments, which the old operator made."""
    deployments = kube.objects("deployments", f"dask.org/component=worker,dask.org/cluster-name={cluster}")
    return {each["metadata"]["name"] for each in deployments if not each["metadata"].get("deletionTimestamp")}


def _bare(kube: Kube, cluster: str) -> set[str]:
    """Return the running workers without a Deployment."""
    pods = [pod for pod in kube.workers(f"{cluster}-default") if pod["status"]["phase"] == "Running"]
    return {p["metadata"]["name"] for p in pods if p["metadata"]["ownerReferences"][0]["kind"] == "DaskWorkerGroup"}


def _edit(kube: Kube, cluster: str, role: str) -> None:
    env = {"op": "add", "path": f"/spec/{role}/spec/containers/0/env", "value": [{"name": "EDITED", "value": "yes"}]}
    kube.run("patch", "daskcluster", cluster, "--type=json", "--patch", json.dumps([env]))


def _running(kube: Kube, number: int) -> None:
    """Wait until so many Dask Pods run."""

    def look() -> bool:
        pods = kube.objects("pods", "dask.org/cluster-name")
        return [pod["status"].get("phase") for pod in pods] == ["Running"] * number

    eventually(look, f"{number} Dask Pods run")


def _nothing_hangs(kube: Kube) -> None:
    """Wait until no Dask object has a finalizer."""
    eventually(
        lambda: not [o for kind in KINDS for o in kube.objects(kind) if o["metadata"].get("finalizers")],
        "no Dask object has a finalizer",
    )


@dataclass(frozen=True)
class Production:
    """The objects of the old operator: a cluster with results, an adaptive one, a job, and one to be deleted."""

    dask: Session
    digests: list[str]
    pods: dict[str, tuple[str, int]]


@pytest.fixture
def production(kube: Kube, session: Callable[[str], Session], dask_image: Image) -> Production:
    image = str(dask_image)
    kube.apply(dask_cluster("moved", 3, image=image))
    kube.apply(dask_cluster("adaptive", 1, image=image), dask_autoscaler("adaptive", "adaptive", 1, 3))
    kube.apply(dask_job("long", 1, image=image, program=PROGRAM))
    kube.apply(dask_cluster("leaving", 0, image=image))
    _running(kube, 4 + 2 + 3 + 1)
    dask = session("moved")
    dask.wait_for_workers(3)
    results = dask.hold(RESULTS)
    assert set(results.holders) == _deployed(kube, "moved")
    assert len(results.holders) == 3
    return Production(dask, results.digests, lives(kube))


def _moves(guide: Guide, production: Production, *, crds_too: bool) -> None:
    """Check that nothing restarts during the migration under load, and that hanging objects are deleted."""
    kube = guide.kube
    production.dask.load()
    guide.do("2.")
    kube.run("delete", "daskcluster", "leaving", "--wait=false")
    assert "leaving" in kube.names("daskclusters")
    guide.do("3.")
    guide.do("4.")
    eventually(lambda: "leaving" not in kube.names("daskclusters"), "what hung is deleted")
    eventually(lambda: not kube.names("pods", "dask.org/cluster-name=leaving"), "and its Pods")
    if crds_too:
        guide.finish()
    _nothing_hangs(kube)
    for cluster in ("moved", "adaptive"):
        eventually(lambda c=cluster: _phase(kube, c) == "Running", f"{cluster} is Running")  # type: ignore[misc]
    _nothing_has_changed(kube, production)


def _phase(kube: Kube, cluster: str) -> str:
    return str(kube.status("daskcluster", cluster).get("phase"))


def _nothing_has_changed(kube: Kube, production: Production) -> None:
    assert lives(kube) == {name: p for name, p in production.pods.items() if not name.startswith("leaving-")}
    assert production.dask.digests() == production.digests


def _scales_without_loss(kube: Kube, production: Production) -> None:
    before = _deployed(kube, "moved")
    kube.run("scale", "--replicas=2", "daskworkergroup", "moved-default")
    eventually(lambda: len(_deployed(kube, "moved")) == 2, "one worker has left")
    assert production.dask.digests() == production.digests
    kube.run("scale", "--replicas=4", "daskcluster", "moved")
    eventually(lambda: len(_bare(kube, "moved")) == 2, "two workers have come")
    assert _deployed(kube, "moved") < before
    production.dask.wait_for_workers(4)


def _rolls_without_loss(kube: Kube, production: Production) -> None:
    results = production.dask.hold(RESULTS, "spread")
    assert set(results.holders) == _deployed(kube, "moved") | _bare(kube, "moved")
    _edit(kube, "moved", "worker")

    def rolled() -> bool:
        env = [pod["spec"]["containers"][0]["env"] for pod in kube.workers("moved-default")]
        edited = [{"name": "EDITED", "value": "yes"} in each for each in env]
        return not _deployed(kube, "moved") and len(_bare(kube, "moved")) == 4 and edited == [True] * 4

    eventually(rolled, "all workers are Pods of the new template")
    assert production.dask.digests() == production.digests
    assert production.dask.digests("spread") == results.digests
    assert production.dask.rest() > 1


def _scheduler_can_be_edited(kube: Kube, session: Callable[[str], Session]) -> None:
    _edit(kube, "moved", "scheduler")
    eventually(lambda: _edited_schedulers(kube) == [True], "the scheduler is of the new template")
    dask = session("moved")
    dask.wait_for_workers(4)
    assert dask.ask("squares", number=3, seconds=0.0) is True


def _edited_schedulers(kube: Kube) -> list[bool]:
    pods = kube.objects("pods", "dask.org/component=scheduler,dask.org/cluster-name=moved")
    envs = [pod["spec"]["containers"][0].get("env", []) for pod in pods if pod["status"].get("phase") == "Running"]
    return [{"name": "EDITED", "value": "yes"} in env for env in envs]


def _adapts(kube: Kube, session: Callable[[str], Session]) -> None:
    dask = session("adaptive")
    dask.load(200, 0.4)
    eventually(lambda: len(_bare(kube, "adaptive")) == 2, "two more workers for the load")
    assert dask.rest() > 0
    eventually(lambda: len(_bare(kube, "adaptive") | _deployed(kube, "adaptive")) == 1, "one worker after it")


def _job_ends(kube: Kube) -> None:
    runner = (kube.get("pod", "long-runner") or {})["metadata"]["uid"]
    kube.run("exec", "long-runner", "--", "touch", "/tmp/go")

    def status() -> str:
        return str(kube.status("daskjob", "long").get("jobStatus"))

    eventually(lambda: status() == "Successful", "the job is Successful")
    assert "499500" in kube.run("logs", "long-runner").split()
    eventually(lambda: "long" not in kube.names("daskclusters"), "the job's cluster goes")
    eventually(lambda: kube.names("pods", "dask.org/cluster-name=long") == {"long-runner"}, "and its Pods")
    assert (kube.get("pod", "long-runner") or {})["metadata"]["uid"] == runner


def _goes_with_all_it_has(kube: Kube, cluster: str) -> None:
    kube.run("delete", "daskcluster", cluster)
    mine = f"dask.org/cluster-name={cluster}"
    eventually(
        lambda: not any(kube.names(kind, mine) for kind in ("pods", "deployments", "services", "daskworkergroups")),
        f"nothing is left of {cluster}",
    )


def test_the_new_client_works_with_the_old_operator(kube: Kube, tmp_path: Path, dask_image: Image) -> None:
    seen = last_line(Machine(tmp_path).python(QUICKSTART, kube.namespace, str(dask_image)))
    assert seen["sum with 10"] == seen["sum with 3"] == 499500
    assert {"my-dask-cluster-default", "my-dask-cluster-highmem"} < set(seen["logs"])
    eventually(lambda: not kube.names("daskclusters"), "no DaskCluster is left")


@pytest.mark.parametrize("crds_too", [False, True], ids=["on the old CRDs", "with the CRDs upgraded"])
def test_a_production_cluster_moves_and_loses_nothing(
    guide: Guide, production: Production, session: Callable[[str], Session], dask_image: Image, crds_too: bool
) -> None:
    kube = guide.kube
    guide.save(dask_image)
    _moves(guide, production, crds_too=crds_too)
    _scales_without_loss(kube, production)
    _rolls_without_loss(kube, production)
    _scheduler_can_be_edited(kube, session)
    _adapts(kube, session)
    if not crds_too:
        before = lives(kube)
        guide.finish()
        assert lives(kube) == before
    _job_ends(kube)
    for cluster in ("moved", "adaptive"):
        _goes_with_all_it_has(kube, cluster)
    assert set(kube.names("crds")) >= set(CRDS)


@pytest.mark.parametrize("crds_too", [False, True], ids=["before the CRDs", "after the CRDs"])
def test_one_can_go_back(guide: Guide, production: Production, dask_image: Image, crds_too: bool) -> None:
    kube = guide.kube
    guide.save(dask_image)
    guide.move()
    _nothing_hangs(kube)
    if crds_too:
        guide.do("5.")
    guide.do("Going back", block=int(crds_too))
    eventually(lambda: _finalizers(kube, "moved"), "the old operator looks after the cluster again")
    eventually(lambda: lives(kube) == production.pods, "the Pods are those from before")
    assert production.dask.digests() == production.digests
    kube.run("scale", "--replicas=4", "daskworkergroup", "moved-default")
    eventually(lambda: len(_deployed(kube, "moved")) == 4, "the old operator has made a worker")
    kube.apply(dask_cluster("new", 1, image=str(dask_image)))
    eventually(lambda: len(_deployed(kube, "new")) == 1, "the old operator makes a cluster")


def _finalizers(kube: Kube, cluster: str) -> list[str]:
    found: list[str] = (kube.get("daskcluster", cluster) or {})["metadata"].get("finalizers", [])
    return found
