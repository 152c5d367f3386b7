"""python -m ci.mutants [--every N] [MODULE...]: changes the controller a little, and sees whether a test fails.

MODULE: as in plan.victims; by default those that decide and those that write. With --every N only each Nth mutant is
tried. A mutant that no test notices is shown with its line. A module is tried by its own tests, and a module of `plan`
by all tests of `plan`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ci.mutants.mutate import Mutant, mutants

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "controller/dask_operator"
TESTS = ROOT / "tests/controller"
ALWAYS = ("build", "parse", "store", "execute", "lease")
# Seconds; a mutant that goes on for ever is noticed as well.
LONGEST = 300
_NOTHING_FAILED = 0


def modules() -> list[str]:
    plans = sorted(f"plan.{file.stem}" for file in (PACKAGE / "plan").glob("*.py"))
    return [*(name.removesuffix(".__init__") for name in plans), *ALWAYS]


def source_of(module: str) -> Path:
    path = PACKAGE / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def files_that_try(module: str) -> list[list[Path]]:
    """Return the tests that a mutant is tried by: at first those of its own file, then the others."""
    *folders, name = module.split(".")
    own = TESTS.joinpath(*folders, f"test_{name}.py")
    rest = sorted((TESTS / "plan").glob("test_*.py")) if module.startswith("plan") else []
    return [[own]] * own.exists() + [[file for file in rest if file != own]] * bool(rest)


def is_noticed(module: str, number: int) -> bool:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--quiet",
        "--exitfirst",
        "-p",
        "ci.mutants.plugin",
        "-p",
        "no:cacheprovider",
    ]
    environment = os.environ | {"MUTANT": f"dask_operator.{module}:{number}"}
    for files in files_that_try(module):
        try:
            done = subprocess.run(
                [*command, *map(str, files)],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                timeout=LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True
        if done.returncode != _NOTHING_FAILED:
            return True
    return False


def survivors(module: str, every: int) -> tuple[int, list[Mutant]]:
    """Try a module's mutants. Return how many were tried, and those that nothing noticed."""
    chosen = list(enumerate(mutants(source_of(module).read_text())))[::every]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        noticed = pool.map(lambda each: is_noticed(module, each[0]), chosen)
        return len(chosen), [mutant for (_, mutant), seen in zip(chosen, noticed, strict=True) if not seen]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m ci.mutants", description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("modules", nargs="*", default=modules())
    chosen = parser.parse_args(arguments)
    for module in chosen.modules:
        tried, left = survivors(module, chosen.every)
        print(f"{module:<20} {tried - len(left):>4} of {tried:>4} noticed", flush=True)
        for mutant in left:
            print(f"  {source_of(module).relative_to(ROOT)}:{mutant.line}: {mutant.what}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
