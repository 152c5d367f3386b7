"""The controller under a profiler that samples its CPU time every few milliseconds.

    python -m bench.sampled FILE ARGUMENT...

At its end, writes the number of samples of each function to the file, with the function's part: a module of ours, or a
package. Time in C code counts for the function that called it.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from dask_operator.__main__ import main as control

INTERVAL = 0.004
_PACKAGES = "site-packages/"


def part_of(file: str, module: str) -> str:
    """Return a function's part from its file and module: our module, a package, or a module of the standard library."""
    if module.startswith("dask_operator"):
        return module
    if _PACKAGES in file:
        return file.partition(_PACKAGES)[2].split("/")[0].removesuffix(".py")
    return module.split(".", maxsplit=1)[0]


def main(file: Path) -> None:
    samples: Counter[tuple[str, str]] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        if frame:
            code = frame.f_code
            samples[part_of(code.co_filename, frame.f_globals.get("__name__", "")), code.co_qualname] += 1

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    try:
        control()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        file.write_text(json.dumps([[*where, number] for where, number in samples.most_common()]))


if __name__ == "__main__":
    samples_file = Path(sys.argv.pop(1))
    main(samples_file)
