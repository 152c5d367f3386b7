"""idleTimeout deletes idle clusters, and no others."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.e2e.conftest import Image
from tests.e2e.session import Session
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_cluster

TIMEOUT = 8
GO = "/tmp/go"


def test_an_idle_cluster_goes_and_a_busy_one_with_the_same_timeout_stays(
    kube: Kube, session: Callable[[str], Session], dask_image: Image
) -> None:
    busy = dask_cluster("busy", 1, image=str(dask_image))
    kube.apply(busy)
    kube.wait_for_workers("busy", 1)
    before = kube.names("pods", "dask.org/cluster-name=busy")
    dask = session("busy")
    # One long task: the scheduler gets no news for much longer than the timeout.
    dask.occupy(GO)
    idle = dask_cluster("idle", 1, image=str(dask_image))
    for cluster in (busy, idle):
        cluster["spec"]["idleTimeout"] = TIMEOUT
        kube.apply(cluster)
    until = time.monotonic() + 3.0 * TIMEOUT
    eventually(lambda: kube.names("daskclusters") == {"busy"}, "the idle cluster is deleted")
    eventually(lambda: not kube.names("pods", "dask.org/cluster-name=idle"), "nothing of it is left")
    time.sleep(max(until - time.monotonic(), 0.0))
    assert kube.names("daskclusters") == {"busy"}
    assert kube.names("pods", "dask.org/cluster-name=busy") == before
    # The answer may take longer than the timeout to arrive.
    busy["spec"]["idleTimeout"] = 0
    kube.apply(busy)
    (worker,) = kube.names("pods", "dask.org/component=worker,dask.org/cluster-name=busy")
    kube.run("exec", worker, "--", "touch", GO)
    assert dask.free() is True
    busy["spec"]["idleTimeout"] = TIMEOUT
    kube.apply(busy)
    eventually(lambda: not kube.names("daskclusters"), "the busy cluster is deleted once it is idle, too")
