"""Makes a small DaskCluster, computes on it and deletes it; says why where that does not work.

It runs in a Pod of `helm test`, with the standard library and Dask. The DaskCluster's manifest is beside this file.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

from distributed import Client

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
MANIFEST = Path(__file__).with_name("cluster.json")
EVERY = 0.5
ATTEMPT = 10.0  # seconds to connect, of which Dask takes a fifth for its first try


class UnmetError(Exception):
    """Something did not come to be in time. Its text says what."""


class Api:
    """The Kubernetes API of one namespace, by the Pod's own ServiceAccount."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._server = (os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"]))
        self._tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        # From Python 3.13, the default. Authorities of old Kubernetes clusters lack the extensions that it asks for.
        self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT

    def call(self, method: str, group: str, path: str, body: Any = None) -> Any:
        """The answer, or None where there is no such object. `group`: as in apis/kubernetes.dask.org/v1."""
        connection = HTTPSConnection(*self._server, context=self._tls, timeout=30)
        with closing(connection):
            headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": "application/json"}
            url = f"/{group}/namespaces/{self._namespace}/{path}"
            connection.request(method, url, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        # An unknown resource is answered in plain text.
        content: Any = json.loads(text) if text.startswith("{") else {"message": text.strip()}
        if answer.status < 300:
            return content
        if answer.status == 404 and content.get("details", {}).get("name"):
            return None
        raise UnmetError(f"the API server answers {answer.status} to {method} {path}: {content.get('message', '')}")


def main() -> int:
    manifest = json.loads(MANIFEST.read_text())
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    deadline = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])
    api = Api(namespace)
    try:
        remove(api, name, deadline)
        api.call("POST", "apis/kubernetes.dask.org/v1", "daskclusters", manifest)
        print(f"created the DaskCluster {name} in {namespace}", flush=True)
        wait(deadline, f"the DaskCluster {name} is not Running", lambda: phase(api, name) == "Running")
        print("it is Running", flush=True)
        compute(f"tcp://{name}-scheduler.{namespace}.svc:8786", deadline)
        remove(api, name, deadline)
        print("deleted it", flush=True)
        return 0
    except UnmetError as unmet:
        print(f"FAILED: {unmet}", flush=True)
        with suppress(UnmetError):
            print(*explanations(api, name), sep="\n", flush=True)
            delete(api, name)
        return 1


def compute(address: str, deadline: float) -> None:
    try:
        with connected(address, deadline) as client:
            client.wait_for_workers(1, timeout=left(deadline))
            total = client.submit(sum, client.map(square, range(100))).result(timeout=left(deadline))
    except (OSError, TimeoutError) as error:
        raise UnmetError(f"no computation on {address}: {error}") from None
    if total != 328350:
        raise UnmetError(f"the sum of the squares below 100 is 328350, and the cluster says {total}")
    print("it computed the sum of the squares below 100, 328350", flush=True)


def connected(address: str, deadline: float) -> Client:
    """Connects, again and again: the first attempt can be lost where a node does not know the Service yet."""
    while True:
        try:
            return Client(address, timeout=min(ATTEMPT, left(deadline)))  # type: ignore[no-untyped-call]
        except (OSError, TimeoutError):
            if time.monotonic() > deadline:
                raise


def square(number: int) -> int:
    return number * number


def phase(api: Api, name: str) -> str:
    cluster = api.call("GET", "apis/kubernetes.dask.org/v1", f"daskclusters/{name}") or {}
    return str(cluster.get("status", {}).get("phase", ""))


def delete(api: Api, name: str) -> None:
    api.call("DELETE", "apis/kubernetes.dask.org/v1", f"daskclusters/{name}")


def remove(api: Api, name: str, deadline: float) -> None:
    """Deletes the DaskCluster, if there is one, and waits until its Pods are gone too."""
    delete(api, name)
    wait(deadline, f"the Pods of the DaskCluster {name} are not gone after it was deleted", lambda: not pods(api, name))


def pods(api: Api, name: str) -> list[dict[str, Any]]:
    found = api.call("GET", "api/v1", f"pods?labelSelector=dask.org/cluster-name={name}") or {}
    return list(found.get("items", []))


def wait(deadline: float, unmet: str, condition: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not condition():
        if time.monotonic() > deadline:
            raise UnmetError(f"{unmet} after {time.monotonic() - started:.0f} s")
        time.sleep(EVERY)


def left(deadline: float) -> float:
    return max(1.0, deadline - time.monotonic())


def explanations(api: Api, name: str) -> Iterator[str]:
    """What the cluster and its Pods say of themselves."""
    cluster = api.call("GET", "apis/kubernetes.dask.org/v1", f"daskclusters/{name}")
    if cluster is None:
        return
    status = cluster.get("status", {})
    if not status:
        yield "No operator has taken the DaskCluster up: is the controller running, and does it watch this namespace?"
    for condition in status.get("conditions", []):
        yield f"{condition['type']} is {condition['status']}: {condition['reason']}: {condition['message']}"
    for pod in pods(api, name):
        yield from complaints(pod)


def complaints(pod: dict[str, Any]) -> Iterator[str]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["status"] != "True" and condition.get("message"):
            yield f"Pod {name}: {condition['message']}"
    for container in status.get("containerStatuses", []):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            yield f"Pod {name}, container {container['name']}: {waiting['reason']}: {waiting.get('message', '')}"


if __name__ == "__main__":
    sys.exit(main())
