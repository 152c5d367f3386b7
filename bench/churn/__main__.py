"""An hour of churn, and its costs.

    make bench WHAT=churn, or: python -m bench.churn [--minutes 60] [--clusters 45] [--seed 1] [--write]

Needs kubectl in the PATH and the KUBECONFIG of a cluster with fake nodes and our CRDs, but without a controller. Starts
two of its own. Prints a line a minute, and figures at the end; `--write` writes these and the plot to docs/. Logs and
samples stay in the folder it prints. Fails as soon as a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import kopf
from bench.churn import report
from bench.churn.result import LASTING
from bench.churn.run import churn
from tests.support.kube import Kube

from dask_operator.kubernetes.api import Api

NAMESPACE = "churn"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clusters", type=int, default=45)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    info, kubectl = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings()), shutil.which("kubectl")
    if info is None or kubectl is None:
        raise SystemExit("set KUBECONFIG to that of a cluster with fake nodes, and put kubectl in the PATH")
    kube = Kube(kubectl, Path(os.environ["KUBECONFIG"]), NAMESPACE)
    folder = Path(tempfile.mkdtemp(prefix="churn-"))
    print(f"logs and samples: {folder}", flush=True)
    kube.create_namespace()
    try:
        async with Api(lambda: info) as api:
            seconds = options.minutes * 60
            result = await churn(api, kube, folder, seconds, options.clusters, options.seed, _say)
    finally:
        with suppress(Exception):
            kube.delete_namespace()
    print(report.table(result, options.clusters, options.seed))
    if leaks := result.leaks():
        raise SystemExit(f"{LASTING} leaks: {'; '.join(leaks)}")
    if options.write:
        report.write(result, options.clusters, options.seed)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    # On SIGTERM, the processes started here must end as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asyncio.run(main())
