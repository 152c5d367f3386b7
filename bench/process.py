"""The measured operators, as processes of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.figures import INCUMBENT, OURS
from tests.support.controller import Controller
from tests.support.process import Process

_EVERYWHERE = "--all-namespaces"


def operator(
    who: str, python: str, kubeconfig: Path, log: Path, *, within: Sequence[str] = (), lease: str = "", site: str = ""
) -> Process:
    """Return an operator that starts as in its image.

    `python`: of the environment it is installed in; `within`: a command that gives it another network; `lease`, `site`:
    see Controller.
    """
    if who == INCUMBENT:
        kopf = str(Path(python).with_name("kopf"))
        module = "dask_kubernetes.operator.controller"
        command = (*within, kopf, "run", "--module", module, "--verbose", _EVERYWHERE)
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        return Process(command, environment, log, ready="Starting the watch-stream")
    assert who == OURS, who
    return _ours((*within, python, "-m", "dask_operator"), os.environ, kubeconfig, log, lease, site)


def sampled(samples: Path, kubeconfig: Path, log: Path, within: Sequence[str] = ()) -> Process:
    """Return our operator under a profiler, which writes its samples to a file at the end."""
    program = (*within, sys.executable, "-m", "bench.sampled", str(samples))
    return _ours(program, {**os.environ, "PYTHONPATH": os.getcwd()}, kubeconfig, log)


def _ours(
    program: Sequence[str], environment: Mapping[str, str], kubeconfig: Path, log: Path, lease: str = "", site: str = ""
) -> Process:
    return Controller(
        kubeconfig, log, _EVERYWHERE, lease=lease, site=site, environment=environment, program=program, port=0
    )
