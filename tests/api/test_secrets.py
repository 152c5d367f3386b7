"""Secrets that users write in wrong places get into no log, no metric and no other object."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.support.controller import Controller
from tests.support.kube import Kube, eventually
from tests.support.loopback_schedulers import SITE
from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, dask_job
from tests.support.permissions import installed_for, releasing

SECRET = f"hunter2-{uuid.uuid4().hex[:12]}"
ENV = [{"name": "PASSWORD", "value": SECRET}]
NOTED = {"annotations": {"example.com/password": SECRET}}
KINDS = "daskclusters,daskworkergroups,daskjobs,daskautoscalers"
# A part that the API server quotes when it refuses it.
QUOTED: dict[str, tuple[str, dict[str, Any]]] = {
    "label": ("worker", {"metadata": {"labels": {"password": f"no label: {SECRET}"}}}),
    "pull-policy": ("worker", {"spec": {"containers": [{"name": "a", "image": "a", "imagePullPolicy": SECRET}]}}),
    "service": ("scheduler", {"service": {"type": SECRET, "ports": [{"port": 1}]}}),
    "volume": ("scheduler", {"spec": {"containers": [{"name": "a", "image": "a"}], "dnsPolicy": SECRET}}),
}


@pytest.fixture
def controller(kube: Kube, tmp_path: Path) -> Iterator[Controller]:
    """A controller with the most verbose logs."""
    with (
        releasing(kube) as helm,
        installed_for(kube, helm, tmp_path, "--verbose", "--debug", site=SITE).started() as controller,
    ):
        yield controller


class _Telling(BaseHTTPRequestHandler):
    """A stand-in for a scheduler that answers with a secret."""

    def do_GET(self) -> None:
        body = json.dumps({"workers": SECRET, "idle_since": SECRET}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def _telling() -> Iterator[int]:
    """Run the stand-in, and yield its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Telling) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _with_secrets(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the same manifest with a secret wherever it accepts one."""
    manifest["metadata"] |= NOTED
    spec = manifest["spec"]
    parts = [spec["job"], *spec["cluster"]["spec"].values()] if "job" in spec else list(spec.values())
    for part in parts:
        part["metadata"] = NOTED
        part["spec"]["containers"][0]["env"] = ENV
        part["spec"]["containers"][0]["args"] += ["--password", SECRET]
    return manifest


def _said(kube: Kube) -> dict[str, str]:
    """Return the status and Events of each object, by name."""
    said: dict[str, str] = {}
    for each in kube.objects(KINDS):
        name = each["metadata"]["name"]
        said[name] = said.get(name, "") + json.dumps(each.get("status"))
    for event in kube.objects("events"):
        name = event["involvedObject"]["name"]
        said[name] = said.get(name, "") + str(event.get("message"))
    return said


def test_a_secret_is_said_to_nobody_but_who_may_read_what_it_was_written_in(kube: Kube, controller: Controller) -> None:
    kube.apply(_with_secrets(dask_cluster("quiet", 2, pods=ON_FAKE_NODES)))
    kube.apply(_with_secrets(dask_job("quiet-job", 1, pods=ON_FAKE_NODES)))
    with _telling() as port:
        telling = dask_cluster("telling", 2, pods=ON_FAKE_NODES)
        ports = [{"name": "http-dashboard", "port": port}, {"name": "tcp-comm", "port": 1}]
        telling["spec"]["scheduler"]["service"] |= {"clusterIP": "None", "ports": ports}
        telling["spec"]["idleTimeout"] = 100
        kube.apply(telling, dask_autoscaler("telling", "telling", 0, 2), dask_cluster("dying", 1, pods=ON_FAKE_NODES))
        for name, (part, fault) in QUOTED.items():
            refused = dask_cluster(name, 1, pods=ON_FAKE_NODES)
            refused["spec"][part] |= fault
            kube.run("create", "--validate=false", "--filename", "-", stdin=json.dumps(refused))
        kube.wait_for_workers("quiet", 2)
        kube.wait_for_workers("dying", 1)
        _fail(kube, kube.workers("dying-default")[0]["metadata"]["name"])
        kube.run("scale", "--replicas=3", "daskcluster", "quiet")
        kube.wait_for_workers("quiet", 3)
        kube.wait_for_workers("telling", 2)
        kube.run("scale", "--replicas=1", "daskworkergroup", "telling-default", "quiet-default")
        for name in QUOTED:
            # People who may read this may read the spec as well.
            assert SECRET in kube.wait_for_condition("daskcluster", name, "Degraded", "Invalid")
        assert SECRET in kube.wait_for_condition("daskautoscaler", "telling", "ScalingActive", "SchedulerAnswer")
        kube.wait_for_condition("daskcluster", "telling", "Degraded", "SchedulerAnswer")
        # The last message of a container is also in its Pod's status.
        eventually(lambda: SECRET in _said(kube)["dying-default"], "an Event tells how the worker ended")
    said = _said(kube)
    assert {name for name, text in said.items() if SECRET in text and name.startswith("quiet")} == set()
    assert SECRET not in eventually(lambda: controller.get("/metrics"), "its metrics")
    kube.run("delete", KINDS, "--all")
    eventually(lambda: not kube.names("pods"), "all is gone")
    controller.kill()
    log = controller.log.read_text()
    assert "create Pod quiet-default" in log
    assert [line for line in log.splitlines() if SECRET in line or _token(controller) in line] == []


def _token(controller: Controller) -> str:
    config = json.loads(controller.kubeconfig.read_text())
    token: str = config["users"][0]["user"]["token"]
    return token


def _fail(kube: Kube, pod: str) -> None:
    """End a container with a secret in its message."""
    ended = {"exitCode": 1, "reason": "Error", "message": f"last words: {SECRET}"}
    statuses = [
        {
            "name": "worker",
            "image": "a",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
    ]
    status = {"phase": "Failed", "containerStatuses": statuses}
    kube.run("patch", "pod", pod, "--subresource=status", "--type=merge", "--patch", json.dumps({"status": status}))
