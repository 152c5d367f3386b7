"""Several processes and one Lease: one writes, and another continues after its end, of whatever kind."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.support.controller import LEADS, STANDS_BY, Controller
from tests.support.kube import Kube, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_cluster

Replicas = tuple[Controller, Controller]
MANY = 200


class Audit:
    """Every worker Pod created since its beginning, in a file of events."""

    def __init__(self, kube: Kube, events: Path) -> None:
        self._kube = kube
        self._events = events
        self._path = f"/api/v1/namespaces/{kube.namespace}/pods"
        listed = json.loads(kube.run("get", "--raw", f"{self._path}?limit=1"))
        self._version = listed["metadata"]["resourceVersion"]
        self._process = self._watch()

    def created(self) -> list[str]:
        """Return the names once there are at least MANY."""
        return eventually(self._look, f"the creation of {MANY} workers")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _watch(self) -> subprocess.Popen[bytes]:
        query = f"watch=true&labelSelector=dask.org/component=worker&resourceVersion={self._version}"
        command = [self._kube.kubectl, "--kubeconfig", str(self._kube.kubeconfig), "get", "--raw"]
        with self._events.open("a") as file:
            return subprocess.Popen([*command, f"{self._path}?{query}"], stdout=file)

    def _look(self) -> list[str]:
        # The API server ends the watch of a slow client, which then asks for later events.
        ended = self._process.poll() is not None
        *lines, _ = self._events.read_text().split("\n")
        events = [json.loads(line) for line in lines]
        if ended:
            # In the middle of a line, or before the first one on a slow machine.
            self._events.write_text("".join(f"{line}\n" for line in lines))
            self._version = events[-1]["object"]["metadata"]["resourceVersion"] if events else self._version
            self._process = self._watch()
        names = [event["object"]["metadata"]["name"] for event in events if event["type"] == "ADDED"]
        return names if len(names) >= MANY else []


@pytest.fixture
def audit(kube: Kube, tmp_path: Path) -> Iterator[Audit]:
    audit = Audit(kube, tmp_path / "events.json")
    yield audit
    audit.close()


def _leader_and_standby(replicas: Replicas) -> Replicas:
    """Return both in their roles: on a slow machine the first may lose the Lease."""

    def found() -> list[Replicas]:
        return [pair for pair in (replicas, replicas[::-1]) if pair[0].does(LEADS) and pair[1].does(STANDS_BY)]

    return eventually(found, "one leads, and the other stands by")[0]


def _in_the_middle(kube: Kube, name: str) -> None:
    """Wait until a new cluster has some of its workers, but not all."""
    kube.apply(dask_cluster(name, MANY, pods=ON_FAKE_NODES))
    eventually(lambda: kube.workers(f"{name}-default"), "the first workers")


@pytest.mark.parametrize("end", [Controller.stop, Controller.kill])
def test_another_goes_on_where_the_leader_ends(
    kube: Kube, replicas: Replicas, audit: Audit, end: Callable[[Controller], object]
) -> None:
    leader, standby = _leader_and_standby(replicas)
    _in_the_middle(kube, "simple")
    end(leader)
    eventually(lambda: standby.does(LEADS), "the standby leads")
    kube.wait_for_workers("simple", MANY)
    assert len(audit.created()) == MANY
    leader.start()
    eventually(lambda: leader.does(STANDS_BY), "the first stands by")


def test_a_leader_that_ends_properly_makes_nobody_wait(kube: Kube, replicas: Replicas) -> None:
    """Check that it gives its Lease back instead of letting it expire."""

    def holder() -> str:
        return str((kube.get("lease", "controller") or {})["spec"].get("holderIdentity"))

    for _ in range(3):
        leader, standby = _leader_and_standby(replicas)
        identity = re.findall(r"this process leads now, as (\S+)", leader.log.read_text())[-1]
        assert leader.stop() == 0
        assert holder() != identity
        eventually(partial(standby.does, LEADS), "the other leads")
        leader.start()
        eventually(partial(leader.does, STANDS_BY), "it stands by again")


def test_a_leader_that_stood_still_writes_nothing_when_it_wakes(kube: Kube, replicas: Replicas, audit: Audit) -> None:
    leader, standby = _leader_and_standby(replicas)
    _in_the_middle(kube, "simple")
    leader.pause()
    eventually(lambda: standby.does(LEADS), "the standby leads")
    kube.wait_for_workers("simple", MANY)
    asleep = len(leader.log.read_text())
    leader.resume()
    eventually(lambda: leader.does(STANDS_BY), "the first stands by")
    time.sleep(3.0)  # time for the forbidden effect
    eventually(lambda: standby.does(LEADS), "the standby leads as before")
    assert len(audit.created()) == MANY
    awake = leader.log.read_text()[asleep:]
    assert "this process stood still" in awake
    assert "create" not in awake
    standby.kill()
    kube.run("scale", f"--replicas={MANY + 5}", "daskcluster", "simple")
    kube.wait_for_workers("simple", MANY + 5)
    eventually(lambda: leader.does(LEADS), "the first leads again")
