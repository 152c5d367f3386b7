"""times.py FILE: show the times of a test run, written into FILE by ci/test.sh and tests/support/timing.py.

First each tier with its wall time and the cores' idle share, then the slowest tests with their waits. Tests that run at
the same time share their idle time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SLOWEST = 40
Line = Mapping[str, Any]


def shown(lines: Sequence[Line]) -> str:
    """Return both tables. `lines`: of the file; the last about a tier or test counts."""
    tiers = {line["tier"]: line for line in lines if "tier" in line}.values()
    last = {line["test"]: line for line in lines if "test" in line}.values()
    tests = sorted(last, key=lambda line: -line["seconds"])
    return "\n".join(
        [
            f"{'tier':<12} {'seconds':>8} {'idle':>6}",
            *(f"{tier['tier']:<12} {tier['seconds']:>8} {_share(tier):>6.0%}" for tier in tiers),
            "",
            f"{'seconds':>8} {'idle':>6}  the slowest of {len(tests)} tests, with their waits",
            *map(_test, tests[:SLOWEST]),
        ]
    )


def _share(tier: Line) -> float:
    """Return a tier's idle share, which ci/test.sh records in hundredths of a second."""
    return float(tier["idle"]) / 100 / tier["seconds"] if tier["seconds"] else 0.0


def _test(line: Line) -> str:
    waits = "".join(f"\n{'':>18}{seconds:>6} s  {what}" for what, seconds in line["waits"].items())
    return f"{line['seconds']:>8.1f} {line['idle']:>6.0%}  {line['test']}{waits}"


def main(file: Path) -> None:
    if not file.exists():
        sys.exit(
            f"no run of tests has left its times in {file}: run `make test`, or one of its tiers, such as `make unit`"
        )
    print(shown([json.loads(line) for line in file.read_text().splitlines()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
