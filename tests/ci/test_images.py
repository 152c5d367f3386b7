"""The test image's Bokeh is where those that show a dashboard look for it."""

from __future__ import annotations

import re

import yaml
from tests.e2e.test_notebook import BUSY
from tests.support.tools import ROOT


def test_the_dashboard_is_found_where_the_image_has_it() -> None:
    (folder,) = re.findall(r"/bokeh (\S+)/$", (ROOT / "ci/images/dask/Dockerfile").read_text(), re.MULTILINE)
    demo = yaml.safe_load((ROOT / "ci/demo/values.yaml").read_text())
    assert demo["scheduler"]["env"]["PYTHONPATH"] == folder
    assert re.findall(r'"PYTHONPATH": "(\S+)"', BUSY) == [folder]
