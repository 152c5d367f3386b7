"""times.py FILE: shows where the time of a run of tests went. ci/test.sh and tests/support/timing.py write FILE.

First comes each tier with its wall time, and the part of it that the cores were idle; then the slowest tests with what
each waited for. A test that runs beside others shares its idle time with them.
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
    """Returns both tables. `lines`: those of the file; of two about one tier or test the later counts."""
    tiers = {line["tier"]: line for line in lines if "tier" in line}.values()
    last = {line["test"]: line for line in lines if "test" in line}.values()
    tests = sorted(last, key=lambda line: -line["seconds"])
    return "\n".join(
        [
            f"{'tier':<12} {'seconds':>8} {'idle':>6}",
            *(f"{tier['tier']:<12} {tier['seconds']:>8} {_share(tier):>6.0%}" for tier in tiers),
            "",
            f"{'seconds':>8} {'idle':>6}  the slowest of {len(tests)} tests, and what they waited for",
            *map(_test, tests[:SLOWEST]),
        ]
    )


def _share(tier: Line) -> float:
    """Returns the idle part of a tier, which ci/test.sh counts in hundredths of a second."""
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
