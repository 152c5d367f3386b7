"""Scaling with data on the workers: nothing is computed twice and nothing is lost."""

from __future__ import annotations

import json

import pytest
from tests.e2e.conftest import Client, Image
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_cluster

ROUNDS = 10
RESULTS = 200

# Each result is random, so that one that was lost and computed again is another. `publish` keeps them on the workers.
FILL = """
import hashlib, json, os, sys
from distributed import Client, wait

def result(number):
    return os.urandom(1_000_000)

def digest(data):
    return hashlib.sha256(data).hexdigest()

with Client(sys.argv[1], timeout="30s") as client:
    client.wait_for_workers(5, timeout=60)
    results = client.map(result, range(int(sys.argv[2])), pure=False)
    wait(results)
    client.rebalance(results)
    holders = {worker for held in client.who_has(results).values() for worker in held}
    digests = client.gather(client.map(digest, results))
    client.publish_dataset(results=results)
    print(json.dumps({"digests": digests, "holders": len(holders)}))
"""

CHECK = """
import hashlib, json, sys
from distributed import Client

with Client(sys.argv[1], timeout="30s") as client:
    results = client.get_dataset("results")
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    digests = [hashlib.sha256(data).hexdigest() for data in client.gather(results)]
    client.unpublish_dataset("results")
    print(json.dumps({"digests": digests, "workers": workers}))
"""


@pytest.mark.timeout(600)
def test_scaled_from_five_to_two_every_result_is_still_there(kube: Kube, client: Client, dask_image: Image) -> None:
    kube.apply(dask_cluster("simple", 2, image=str(dask_image)))
    address = f"tcp://simple-scheduler.{kube.namespace}.svc:8786"
    for number in range(ROUNDS):
        kube.run("scale", "--replicas=5", "daskworkergroup", "simple-default")
        before = json.loads(client.python(FILL, address, str(RESULTS)))
        assert before["holders"] == 5
        kube.run("scale", "--replicas=2", "daskworkergroup", "simple-default")
        eventually(lambda: len(kube.objects("pods", "dask.org/component=worker")) == 2, f"round {number}: two workers")
        after = json.loads(client.python(CHECK, address))
        assert after == {"digests": before["digests"], "workers": 2}
