"""Write the results of runs into their page: tables between its markers, and pictures beside it.

    python -m bench.page RESULTS... [--page docs/performance.md]

People write the text outside the markers, and it stays.
"""

from __future__ import annotations

import argparse
from functools import reduce
from operator import add
from pathlib import Path

from bench import plots
from bench.report import rendered
from bench.results import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--page", type=Path, default=Path("docs/performance.md"))
    given = parser.parse_args()
    results = reduce(add, map(load, given.results))
    given.page.write_text(rendered(given.page.read_text(), results))
    plots.draw(results, given.page.parent / "images")


if __name__ == "__main__":
    main()
