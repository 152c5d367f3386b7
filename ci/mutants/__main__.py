"""python -m ci.mutants [--every N] [MODULE...]: change the controller a little, and check that a test fails.

MODULE: such as plan.workers.victims; by default all that decide or write. With --every N, try only each Nth mutant.
Prints the line of each mutant that no test notices. A module's own tests try it, and all of `plan`'s try
a module of `plan`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from ci.mutants.mutate import Mutant, mutants

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "controller/dask_operator"
TESTS = ROOT / "tests/controller"
WRITING = (
    *(f"reconcile.{name}" for name in ("asking", "execute", "facts", "store", "writes")),
    "kubernetes.leadership",
    "kubernetes.lease",
)
DECIDING = ("plan", "parse", "manifests")
# Seconds; ends a mutant that never ends by itself.
LONGEST = 300
# Imports of the tests, made once for all mutants. No plugin of pytest, which has to import these itself.
IMPORTED = ("aiohttp.web", "distributed", "kopf", "kubernetes", "yaml")


def modules() -> list[str]:
    found = [file for folder in DECIDING for file in sorted((PACKAGE / folder).rglob("*.py"))]
    files = (file.relative_to(PACKAGE).with_suffix("") for file in found)
    return [*(".".join(file.parts).removesuffix(".__init__") for file in files), *WRITING]


def source_of(module: str) -> Path:
    path = PACKAGE / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def files_that_try(module: str) -> list[list[Path]]:
    """Return the tests for a mutant: first its own file, then the others."""
    *folders, name = module.split(".")
    if source_of(module).name == "__init__.py":
        folders.append(name)
    own = TESTS.joinpath(*folders, f"test_{name}.py")
    top = module.partition(".")[0]
    rest = sorted((TESTS / top).rglob("test_*.py")) if top in DECIDING else []
    return [[own]] * own.exists() + [[file for file in rest if file != own]] * bool(rest)


def is_noticed(module: str, number: int | None) -> bool:
    """Try a mutant, or the module as it is, in this process, which can import the controller only once."""
    if number is not None:
        os.environ["MUTANT"] = f"dask_operator.{module}:{number}"
    options = ["--quiet", "--exitfirst", "-p", "ci.mutants.plugin", "-p", "no:cacheprovider"]
    return any(pytest.main([*options, *map(str, files)]) for files in files_that_try(module))


def survivors(module: str, every: int) -> tuple[int, list[Mutant]]:
    """Try a module's mutants. Return their number, and those that no test noticed."""
    chosen = list(enumerate(mutants(source_of(module).read_text())))[::every]
    left: list[Mutant] = []
    running: dict[int, Mutant] = {}
    for number, mutant in chosen:
        if len(running) == os.cpu_count():
            left += _ended(running)
        running[_started(module, number)] = mutant
    while running:
        left += _ended(running)
    return len(chosen), sorted(left, key=lambda mutant: mutant.line)


def _started(module: str, number: int | None) -> int:
    """Try a mutant, or the module as it is, in a child that inherits slow imports. Return its id."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    signal.alarm(LONGEST)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os._exit(is_noticed(module, number))


def _ended(running: dict[int, Mutant]) -> list[Mutant]:
    """Wait for one of the children. Return its mutant if no test noticed it."""
    child, status = os.wait()
    mutant = running.pop(child)
    return [] if status else [mutant]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m ci.mutants", description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("modules", nargs="*", default=modules())
    chosen = parser.parse_args(arguments)
    os.chdir(ROOT)
    for name in IMPORTED:
        importlib.import_module(name)
    sound: set[Path] = set()
    for module in chosen.modules:
        files = {file for files in files_that_try(module) for file in files}
        if not files <= sound and os.waitpid(_started(module, None), 0)[1]:
            sys.exit(f"the tests of {module} fail with the module as it is, so they would notice any mutant")
        sound |= files
        tried, left = survivors(module, chosen.every)
        print(f"{module:<20} {tried - len(left):>4} of {tried:>4} noticed", flush=True)
        for mutant in left:
            print(f"  {source_of(module).relative_to(ROOT)}:{mutant.line}: {mutant.what}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
