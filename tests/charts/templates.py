"""Renderings as by `helm template`, made by one process of Helm's own packages.

Starting Helm takes more time than rendering a chart does.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.charts.texts import Values, written
from tests.support.tools import ROOT, tool

KUBERNETES = "1.33.0"


@dataclass(frozen=True)
class Rendered:
    """The output of `helm template`, or its error."""

    output: str
    error: str


@dataclass(frozen=True)
class Templates:
    """The charts of this repository, rendered by a process that takes requests."""

    _process: subprocess.Popen[str]

    def render(
        self,
        chart: str,
        values: Values | None = None,
        *,
        settings: Sequence[str] = (),
        release: str = "release",
        namespace: str = "default",
        include_crds: bool = False,
    ) -> Rendered:
        """Return a rendering with a file of values, and with `settings` as of `--set-json`."""
        asked = {
            "chart": str(ROOT / "charts" / chart),
            "release": release,
            "namespace": namespace,
            "kubeVersion": KUBERNETES,
            "values": written(values or {}),
            "settings": settings,
            "includeCRDs": include_crds,
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{json.dumps(asked)}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Rendered(answer["Output"], answer["Error"].strip())


@contextmanager
def a_renderer() -> Iterator[Templates]:
    with subprocess.Popen(
        [tool("helm-templates")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Templates(process)
        assert process.stdin
        process.stdin.close()
