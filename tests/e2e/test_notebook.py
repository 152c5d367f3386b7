"""The display of clusters in a notebook: a starting one, a running one, and one that cannot start.

With $PICTURES, a browser takes pictures of the notebook and of the dashboard into that folder.
"""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Client, Image, client_of
from tests.e2e.programs import Machine, ended, line_of, say
from tests.support.browser import photograph
from tests.support.kube import Kube

# Prints the notebook as JSON or as a page, after running its cells.
RUN = """
import json, sys
import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

cells, form = json.loads(sys.argv[1]), sys.argv[2]
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
NotebookClient(notebook, timeout=300, startup_timeout=240, allow_errors=True).execute()
if form == "json":
    print(nbformat.writes(notebook))
else:
    for cell in notebook.cells:
        for output in cell.outputs:
            # A page that is looked at without a kernel has no live widgets.
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    print(HTMLExporter().from_notebook_node(notebook)[0])
"""
CELLS = (
    """from dask_kubernetes.operator import KubeCluster

cluster = KubeCluster(name="notebook", image="{image}", n_workers=2)""",
    "cluster.wait_for_workers(2, timeout=180)",
    "cluster",
    """import dask.array as da

client = cluster.get_client()
da.ones((1000, 1000), chunks=250).mean().compute()""",
    """cluster.scale(3)
cluster.wait_for_workers(3, timeout=180)
print(cluster.requested == cluster.observed)""",
    "client.close()\ncluster.close()",
)
BROKEN = """from dask_kubernetes.operator import KubeCluster

KubeCluster(name="broken", image="localhost/no-such-image:1", resource_timeout={seconds})"""
BUSY = """
import sys, time
from dask_kubernetes.operator import KubeCluster

def work(number):
    time.sleep(number % 7 / 20)
    return number

options = {"namespace": sys.argv[1], "image": sys.argv[2], "n_workers": 2, "quiet": True}
options["env"] = {"PYTHONPATH": "/opt/dashboard"}
with KubeCluster(name="busy", **options) as cluster, cluster.get_client() as client:
    cluster.wait_for_workers(2, timeout=180)
    squares = client.map(work, range(2000))
    print(cluster.dashboard_link, flush=True)
    sys.stdin.readline()
"""
# The dashboard draws itself some time after loading: once its plots have seen so many tasks.
DRAWN = """
(() => {
  const streams = (Bokeh.documents[0]?._all_models ? [...Bokeh.documents[0]._all_models.values()] : [])
    .filter((model) => model.type === "ColumnDataSource")
  return streams.some((stream) => stream.data.duration?.length > 100)
})()
"""
PICTURES = os.environ.get("PICTURES", "")
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def notebook(kube: Kube) -> Client:
    """A Pod that may make clusters, like a notebook server's for each user."""
    account = f"--serviceaccount={kube.namespace}:default"
    kube.run("create", "rolebinding", "notebook", "--clusterrole=admin", account)
    return client_of(kube, Image.from_environment("NOTEBOOK_IMAGE"))


def run(notebook: Client, form: str, *cells: str) -> str:
    return notebook.python(RUN, json.dumps(cells), form)


def shown(notebook: Client, *cells: str) -> list[list[dict[str, Any]]]:
    """Return each cell's final output."""
    return [cell["outputs"] for cell in json.loads(run(notebook, "json", *cells))["cells"]]


def texts(outputs: list[dict[str, Any]]) -> Iterator[str]:
    for output in outputs:
        yield "".join(output.get("text", []))
        yield "".join(output.get("data", {}).get("text/plain", []))
        yield "\n".join(output.get("traceback", []))


def test_a_notebook_shows_a_cluster_that_starts_and_runs(
    kube: Kube, notebook: Client, dask_image: Image, tmp_path: Path
) -> None:
    cells = [cell.format(image=dask_image) for cell in CELLS]
    started, waited, itself, computed, scaled, closed = shown(notebook, *cells)
    dashboard = f"http://notebook-scheduler.{kube.namespace}.svc:8787/status"
    # One line replaces the progress, and nothing else.
    (ready,) = started
    assert "Cluster notebook is ready" in "".join(texts(started))
    assert f'href="{dashboard}"' in "".join(ready["data"]["text/html"])
    assert not any("Traceback" in text for outputs in (waited, scaled, closed) for text in texts(outputs))
    (cluster,) = itself
    assert WIDGET in cluster["data"]
    widget = "".join(cluster["data"]["text/html"])
    assert f'href="{dashboard}"' in widget
    assert "Default Worker Group" in widget
    assert "2 of 2 registered" in widget
    assert "1.0" in "".join(texts(computed))
    assert "True" in "".join(texts(scaled))
    assert not kube.names("daskclusters")
    if PICTURES:
        page = tmp_path / "notebook.html"
        page.write_text(run(notebook, "html", *cells))
        photograph(f"file://{page}", Path(PICTURES, "python-notebook.png"), (1000, 1000))


def test_a_notebook_shows_why_a_cluster_does_not_start(kube: Kube, notebook: Client) -> None:
    # A busy machine may not have tried to pull the image yet, and then shows nothing about it.
    for seconds in (8, 60, 240):
        (outputs,) = shown(notebook, BROKEN.format(seconds=seconds))
        said = "".join(texts(outputs))
        if "cannot pull image" in said:
            break
    assert "ImagePullBackOff" in said or "ErrImagePull" in said
    assert "SchedulerStartupError" in said
    assert "localhost/no-such-image:1" in said
    assert not kube.names("daskclusters")


def test_the_dashboard_is_where_its_link_leads(kube: Kube, tmp_path: Path, dask_image: Image) -> None:
    program = Machine(tmp_path).start(BUSY, kube.namespace, str(dask_image))
    with ended(program):
        link = line_of(program, 500)
        with urllib.request.urlopen(link, timeout=180) as page:
            assert "<title>Dask Diagnostic UI</title>" in page.read().decode()
        if PICTURES:
            photograph(link, Path(PICTURES, "python-dashboard.png"), (1400, 800), DRAWN)
        say(program)
        _, said = program.communicate(timeout=180)
    assert program.returncode == 0, said
