"""Check that a chart's templates use only values in its values.yaml.

    templates.py CHART...

A map that is described as a whole, such as `resources`, counts as one value.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ci.generate import Value, read

_REFERENCE = re.compile(r"\.Values((?:\.[A-Za-z]\w*)+)")


def unknown(template: str, values: Value) -> Iterator[str]:
    """Yield the values that a template uses but values.yaml lacks."""
    for found in _REFERENCE.findall(template):
        at = values
        for name in found[1:].split("."):
            if not at.parts:
                break
            if name not in at.parts:
                yield found[1:]
                break
            at = at.parts[name]


def main(charts: list[str]) -> int:
    failed = False
    for chart in map(Path, charts):
        values = read((chart / "values.yaml").read_text())
        for path in sorted(path for path in chart.glob("templates/**/*") if path.is_file()):
            for name in unknown(path.read_text(), values):
                failed = True
                print(f"{path} uses {name}, which values.yaml does not have", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
