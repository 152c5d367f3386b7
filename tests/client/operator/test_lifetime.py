"""A DaskCluster is deleted once when its creator goes away, in whatever way."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading

import pytest
from tests.client.operator.conftest import Kubeconfig
from tests.support.fake_api import FakeApi
from tests.support.server import free_port

from dask_kubernetes.operator.access.kubernetes import Kubernetes
from dask_kubernetes.operator.daskcluster import DaskCluster
from dask_kubernetes.operator.lifetime import Lifetime
from dask_kubernetes.operator.manifests.spec import make_cluster_spec
from dask_operator import resources

PROGRAM = """
import asyncio, os, sys
from dask_kubernetes.operator.daskcluster import DaskCluster
from dask_kubernetes.operator.access.kubernetes import Kubernetes
from dask_kubernetes.operator.lifetime import Lifetime
from dask_kubernetes.operator.manifests.spec import make_cluster_spec

class Owner: pass

async def main():
    kubernetes = await Kubernetes.connect()
    for name in sys.argv[2:]:
        cluster = DaskCluster(kubernetes, name, "default")
        if sys.argv[1] != "gone":
            await cluster.create(make_cluster_spec(name))
        owners.append(Owner())
        lifetimes.append(Lifetime(owners[-1], cluster, lambda: None))
    await kubernetes.close()

owners, lifetimes = [], []
asyncio.run(main())
if sys.argv[1] == "over":
    lifetimes[0].cancel()
if sys.argv[1] == "forks":
    if child := os.fork():
        os.waitpid(child, 0)
        os._exit(0)
    del owners[:]
if sys.argv[1] == "fails":
    raise SystemExit(3)
"""


class Owner:
    """An object that a test lets go of."""


async def made(name: str = "mine") -> DaskCluster:
    kubernetes = await Kubernetes.connect()
    cluster = DaskCluster(kubernetes, name, "default")
    await cluster.create(make_cluster_spec(name))
    await kubernetes.close()
    return cluster


def wait_for_deletion() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("delete "):
            thread.join(10.0)


def test_a_cluster_goes_with_its_owner(fake: FakeApi) -> None:
    owner, stopped = Owner(), threading.Event()
    cluster = asyncio.run(made())
    Lifetime(owner, cluster, stopped.set)
    gc.collect()
    assert not fake.asked("DELETE")
    del owner
    gc.collect()
    assert stopped.is_set()
    wait_for_deletion()
    (delete,) = fake.asked("DELETE")
    assert (delete.name, delete.body["preconditions"]) == ("mine", {"uid": cluster.uid})
    assert not fake.objects(resources.CLUSTER)


def test_one_that_is_over_stays(fake: FakeApi) -> None:
    owner = Owner()
    Lifetime(owner, asyncio.run(made()), lambda: None).cancel()
    del owner
    gc.collect()
    wait_for_deletion()
    assert not fake.asked("DELETE")


def test_what_is_not_deleted_is_said(fake: FakeApi, caplog: pytest.LogCaptureFixture) -> None:
    lifetime = Lifetime(owner := Owner(), asyncio.run(made()), lambda: None)
    fake.refuses = lambda seen: seen.method == "DELETE"
    with caplog.at_level(logging.WARNING, "dask_kubernetes"):
        lifetime.delete_now()
    (record,) = caplog.records
    assert 'cannot delete resource "daskclusters"' in record.getMessage()
    assert "`kubectl delete daskcluster mine --namespace default`" in record.getMessage()
    del owner
    gc.collect()
    wait_for_deletion()
    assert len(fake.asked("DELETE")) == 1, "and it is not tried again when its owner goes"


def ended(mode: str, *names: str) -> subprocess.CompletedProcess[str]:
    """Run an interpreter to its end that makes clusters with these names."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, mode, *names]
    return subprocess.run(command, capture_output=True, text=True, timeout=60.0, check=False)


def test_at_the_end_of_the_interpreter_each_is_deleted_once(fake: FakeApi) -> None:
    done = ended("ends", "first", "second")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(seen.name for seen in fake.asked("DELETE")) == ["first", "second"]
    assert not fake.objects(resources.CLUSTER)


def test_of_two_the_one_that_is_not_over_is_deleted(fake: FakeApi) -> None:
    assert ended("over", "first", "second").returncode == 0
    assert [seen.name for seen in fake.asked("DELETE")] == ["second"]


def test_what_is_forked_deletes_nothing_of_its_parent(fake: FakeApi) -> None:
    assert ended("forks", "mine").returncode == 0
    assert not fake.asked("DELETE")


def test_a_program_that_fails_deletes_it_too(fake: FakeApi) -> None:
    assert ended("fails", "mine").returncode == 3
    assert not fake.objects(resources.CLUSTER)


def test_without_an_api_server_the_program_ends_and_says_what_is_left(kubeconfig: Kubeconfig) -> None:
    kubeconfig.write(f"http://127.0.0.1:{free_port()}")
    done = ended("gone", "first", "second")
    assert done.returncode == 0
    for name in ("first", "second"):
        assert f"use `kubectl delete daskcluster {name} --namespace default`" in done.stderr
    assert "Traceback" not in done.stderr
