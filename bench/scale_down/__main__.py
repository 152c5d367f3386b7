"""Scale-downs under load, by this operator and by others.

    python -m bench.scale_down [--rounds 1000] [--lanes 4] [--beside 100 --python PYTHON] [--by http|rpc] [--seed 1]

Each lane is a cluster that is scaled down time after time, in a process of its own. The others have a lane each. All
run at the same time: a scale-down mostly waits for tasks.

Workers hold random results while sums are computed on them, and P2P shuffles of dataframes and of arrays, long tasks
and long tasks that have seceded. A result that was lost and computed again has another digest. Every start of a task
is counted on its worker.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from bench.scale_down.others import adaptive, incumbent
from bench.scale_down.ours import ROUTES, scale_downs
from bench.scale_down.rounds import begin_lane
from bench.scale_down.tally import Tally, table

OURS = "this operator"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000, help="number of scale-downs")
    parser.add_argument("--lanes", type=int, default=4, help="number of clusters that this operator scales down")
    parser.add_argument("--beside", type=int, default=0, help="number of scale-downs by each of the others")
    parser.add_argument("--python", default="", help="the interpreter that can import the incumbent, one of the others")
    parser.add_argument("--by", choices=sorted(ROUTES), default="http", help="protocol for asking the scheduler")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tallies = _run(arguments)
    ours = tallies[OURS]
    print(f"by {arguments.by}:\n{table(tallies)}")
    if ours.lost or ours.failed or ours.wrong_group or ours.too_many or ours.sums_wrong:
        raise SystemExit("results were lost, or workers deleted by mistake")
    if ours.tasks_run_again or ours.shuffles_restarted:
        raise SystemExit("tasks were run again")


def _run(arguments: argparse.Namespace) -> dict[str, Tally]:
    """Run all lanes at the same time. Return the totals by who scales down."""
    of_lane, by, seed, beside = -(-arguments.rounds // arguments.lanes), arguments.by, arguments.seed, arguments.beside
    lanes = [(OURS, partial(scale_downs, of_lane, by, seed + lane)) for lane in range(arguments.lanes)]
    if beside:
        lanes += [
            ("without its agent", partial(scale_downs, beside, by, seed, agent=False)),
            ("Adaptive, LocalCluster", partial(adaptive, beside, seed)),
        ]
    if beside and arguments.python:
        lanes.append(("dask-kubernetes", partial(incumbent, beside, seed, arguments.python)))
    tallies: dict[str, Tally] = defaultdict(Tally)
    with ProcessPoolExecutor(len(lanes), get_context("spawn"), begin_lane) as processes:
        running = [(who, processes.submit(lane)) for who, lane in lanes]
        for who, lane in running:
            tallies[who] += lane.result()
    return tallies


if __name__ == "__main__":
    main()
