"""Keeps the table of values in a chart's README.md equal to the comments of its values.yaml.

    chart_readme.py CHART...            says which README.md is not what it should be
    chart_readme.py --write CHART...    writes it

The table stands between the lines `<!-- values -->` and `<!-- /values -->`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ci.verify.values import documented

BEGIN, END = "<!-- values -->", "<!-- /values -->"


def table(values_yaml: str) -> str:
    rows = [f"| `{path}` | {_escaped(text)} | {_code(default)} |" for path, default, text in documented(values_yaml)]
    return "\n".join(["| Value | What it is | Default |", "|---|---|---|", *rows])


def with_table(readme: str, values_yaml: str) -> str:
    """The README with the table that belongs in it."""
    before, marker, rest = readme.partition(BEGIN)
    _, end_marker, after = rest.partition(END)
    if not (marker and end_marker):
        raise ValueError(f"README.md needs the lines {BEGIN} and {END} around its table of values")
    return f"{before}{BEGIN}\n{table(values_yaml)}\n{END}{after}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _code(default: Any) -> str:
    return f"`{_escaped(json.dumps(default))}`"


def main(arguments: list[str]) -> int:
    writing = "--write" in arguments
    stale = False
    for chart in (Path(argument) for argument in arguments if argument != "--write"):
        readme = chart / "README.md"
        wanted = with_table(readme.read_text(), (chart / "values.yaml").read_text())
        if writing:
            readme.write_text(wanted)
        elif readme.read_text() != wanted:
            stale = True
            print(f"{readme} is not what values.yaml says: run `ci/verify/charts.sh --write`", file=sys.stderr)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
