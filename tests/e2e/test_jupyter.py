"""Jupyter on a release's scheduler: a browser gets its page, and its cells compute on the cluster."""

from __future__ import annotations

import json

from tests.e2e.conftest import Client, Image
from tests.e2e.release import EXAMPLES, Release
from tests.support.helm import Helm
from tests.support.kube import Kube

# The steps of a browser: it opens the page linked on the dashboard, starts a kernel, and runs a cell there.
BROWSER = """
import asyncio, json, sys, uuid
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

server, cell = sys.argv[1:]

async def run(kernel):
    request = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": uuid.uuid4().hex, "username": ""}
    message = {"channel": "shell", "header": request, "parent_header": {}, "metadata": {}}
    await kernel.write_message(json.dumps(message | {"content": {"code": cell, "silent": False}}))
    printed = ""
    while True:
        message = json.loads(await kernel.read_message())
        if message["parent_header"].get("msg_id") != request["msg_id"]:
            continue
        content = message["content"]
        if message["msg_type"] == "error":
            printed += "\\n".join(content["traceback"])
        printed += content.get("text", "")
        if content.get("execution_state") == "idle":
            return printed

async def browse():
    http = AsyncHTTPClient()
    page = await http.fetch(f"http://{server}/jupyter/lab", connect_timeout=180, request_timeout=180)
    (cookie,) = (c.split(";")[0] for c in page.headers.get_list("Set-Cookie") if c.startswith("_xsrf="))
    headers = {"Cookie": cookie, "X-XSRFToken": cookie.removeprefix("_xsrf=")}
    kernels = HTTPRequest(f"http://{server}/jupyter/api/kernels", "POST", headers, body="{}", request_timeout=180)
    kernel = json.loads((await http.fetch(kernels)).body)["id"]
    where = f"ws://{server}/jupyter/api/kernels/{kernel}/channels"
    channels = HTTPRequest(where, headers=headers, connect_timeout=180, request_timeout=180)
    printed = await asyncio.wait_for(run(await websocket_connect(channels)), 400)
    print(json.dumps({"page": page.body.decode(), "printed": printed.split()}))

asyncio.run(browse())
"""
CELL = """
from pathlib import Path
from distributed import Client
client = Client()
client.wait_for_workers(1, timeout=180)
print(client.submit(sum, range(1000)).result(timeout=180), Path.home())
"""


def test_a_cell_in_jupyter_on_the_scheduler_computes_on_the_cluster(kube: Kube, helm: Helm, client: Client) -> None:
    kube.run("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    # Its network policy allows Pods with this label.
    kube.run("label", "pod", "client", "dask-client=true")
    release = Release(kube, helm, Image.from_environment("NOTEBOOK_IMAGE"), "lab")
    release.install("--values", str(EXAMPLES / "jupyter.yaml"), "--set", "worker.replicas=1")
    kube.wait_for_workers("lab", 1)
    server = "lab-scheduler:8787"
    seen = json.loads(client.python(BROWSER, server, CELL))
    assert "<title>JupyterLab</title>" in seen["page"]
    assert seen["printed"] == ["499500", "/tmp"]
