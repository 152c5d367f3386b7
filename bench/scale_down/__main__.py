"""Scale-downs under load, one after another, by this operator and by others.

    python -m bench.scale_down [--rounds 1000] [--beside 100 --python PYTHON] [--by http|rpc] [--seed 1]

Workers hold random results while sums are computed on them, and P2P shuffles of dataframes and of arrays, long tasks
and long tasks that have seceded. A result that was lost and computed again has another digest. Every start of a task
is counted on its worker.
"""

from __future__ import annotations

import argparse
import logging

from bench.scale_down.others import adaptive, incumbent
from bench.scale_down.ours import ROUTES, scale_downs
from bench.scale_down.rounds import logger
from bench.scale_down.tally import Tally, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000, help="number of scale-downs")
    parser.add_argument("--beside", type=int, default=0, help="number of scale-downs by each of the others")
    parser.add_argument("--python", default="", help="the interpreter that can import the incumbent, one of the others")
    parser.add_argument("--by", choices=sorted(ROUTES), default="http", help="protocol for asking the scheduler")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s")
    logger.setLevel(logging.INFO)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its errors about connections to ended workers
    tallies = _others(arguments.beside, arguments.by, arguments.seed, arguments.python) if arguments.beside else {}
    ours = scale_downs(arguments.rounds, arguments.by, arguments.seed)
    print(f"by {arguments.by}:\n{table({'this operator': ours, **tallies})}")
    if ours.lost or ours.failed or ours.wrong_group or ours.too_many or ours.sums_wrong:
        raise SystemExit("results were lost, or workers deleted by mistake")
    if ours.tasks_run_again or ours.shuffles_restarted:
        raise SystemExit("tasks were run again")


def _others(rounds: int, by: str, seed: int, python: str) -> dict[str, Tally]:
    tallies = {"without its agent": scale_downs(rounds, by, seed, agent=False)}
    if python:
        tallies["dask-kubernetes"] = incumbent(rounds, seed, python)
    return tallies | {"Adaptive, LocalCluster": adaptive(rounds, seed)}


if __name__ == "__main__":
    main()
