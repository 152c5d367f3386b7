"""Measure one operator against its budgets, all or some, and write the results into a file.

    python -m bench.run RESULTS [NAME...] [--who ours|incumbent] [--python OTHER_PYTHON] [--small] [--rounds 5] …

Needs kubectl in the PATH, the KUBECONFIG of a cluster with fake nodes and the operator's CRDs but no operator, and
CLUSTER, its name in ci/cluster; `registered` needs DASK_IMAGE as well. Prints each figure.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path

import kopf
from bench import results
from bench.changes import changes
from bench.create import create, many
from bench.delete import delete
from bench.failover import failover
from bench.figures import BUDGETS, INCUMBENT, OURS, SMALL, Fact, Measured, Point, Share, Sizes
from bench.growth import clusters, workers
from bench.registered import registered
from bench.report import spread
from bench.setting import Bench
from bench.shrink import shrink
from bench.writes import writes

from dask_operator.kubernetes.api import Api

Measurement = Callable[[Bench], AsyncIterator[Fact]]
OF_BOTH: Mapping[str, Measurement] = {
    "create": create,
    "many": many,
    "writes": writes,
    "shrink": shrink,
    "delete": delete,
    "registered": registered,
    "changes": changes,
}
OF_OURS: Mapping[str, Measurement] = {"failover": failover, "workers": workers, "clusters": clusters}


async def measure(bench: Bench, names: list[str]) -> list[Fact]:
    """Run the named measurements, or all. Report each failure and go on."""
    known = {**OF_BOTH, **(OF_OURS if bench.ours else {})}
    found: list[Fact] = []
    began = time.monotonic()
    for name in names or known:
        try:
            async for fact in known[name](bench):
                found.append(fact)
                if not isinstance(fact, Share):
                    print(f"{time.monotonic() - began:5.0f} s  {said(fact, bench.sizes)}", flush=True)
        except Exception:
            traceback.print_exc()
            print(f"NOT MEASURED: {name}", flush=True)
    return found


def said(fact: Measured | Point, sizes: Sizes) -> str:
    match fact:
        case Measured():
            budget = next(budget for budget in BUDGETS if budget.key == fact.budget)
            return f"{budget.title(sizes)}, {fact.who}: {spread(fact.values)} {budget.unit}"
        case Point():
            return f"{fact.size} {fact.kind}: {fact.seconds:.1f} s, CPU {fact.cpu:.2f} s, {fact.memory:.1f} MiB more"


def main() -> None:
    given = arguments()
    info = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    if info is None:
        raise SystemExit("set KUBECONFIG to that of a cluster with fake nodes")
    sizes = sizes_of(given)
    folder = given.results.parent / given.who
    folder.mkdir(parents=True, exist_ok=True)

    async def measured() -> list[Fact]:
        async with Api(lambda: info) as api:
            return await measure(Bench(api, given.who, given.python, sizes, folder), given.names)

    facts = asyncio.run(measured())
    results.save(results.of(sizes, results.this_machine(), facts), given.results)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the file to write")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join({**OF_BOTH, **OF_OURS})}")
    parser.add_argument("--who", choices=(OURS, INCUMBENT), default=OURS)
    parser.add_argument("--python", default=sys.executable, help="Python of the operator's environment")
    parser.add_argument("--small", action="store_true", help="small sizes, as a quick check")
    for size in fields(Sizes):
        kind = type(size.default) if not isinstance(size.default, tuple) else _several
        parser.add_argument(f"--{size.name.replace('_', '-')}", type=kind, help=f"instead of {size.default}")
    given = parser.parse_intermixed_args()
    if wrong := set(given.names) - {**OF_BOTH, **OF_OURS}.keys():
        parser.error(f"no such measurement: {', '.join(wrong)}")
    return given


def sizes_of(given: argparse.Namespace) -> Sizes:
    chosen = {size.name: value for size in fields(Sizes) if (value := getattr(given, size.name)) is not None}
    return replace(SMALL if given.small else Sizes(), **chosen)


def _several(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    main()
