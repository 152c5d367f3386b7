"""Check the Python packages in the bill of materials of the controller's image: exactly the locked ones.

    sbom.py FILE

FILE is SPDX JSON. Packages locked for some versions of Python may be missing. The image also has the controller itself
and pip, for images that add plugins.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "controller/requirements.txt"
PROJECT = ROOT / "controller/pyproject.toml"
_LOCKED = re.compile(r"^([\w.-]+)==([\w.!+-]+)( ;)?", re.MULTILINE)
_PURL = re.compile(r"pkg:pypi/([\w.-]+)@([^?#]+).*")
_UNLOCKED = "pip"


class Locked(NamedTuple):
    """Locked versions by name. `always`: for every Python; `some`: for some versions of Python."""

    always: Mapping[str, str]
    some: Mapping[str, str]


def locked(lock: str, project: Mapping[str, Any]) -> Locked:
    """Return the packages of a lock with hashes, and its project."""
    found = [(_normal(name), version, bool(marker)) for name, version, marker in _LOCKED.findall(lock)]
    itself = {_normal(project["name"]): str(project["version"])}
    return Locked(
        {name: version for name, version, marked in found if not marked} | itself,
        {name: version for name, version, marked in found if marked},
    )


def installed(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and version of each Python package, as often as the image has it."""
    for package in document["packages"]:
        for reference in package.get("externalRefs", ()):
            if named := _PURL.fullmatch(reference["referenceLocator"]):
                yield _normal(named[1]), named[2]


def problems(found: Iterable[tuple[str, str]], wanted: Locked) -> Iterator[str]:
    there = set(found)
    for name, version in sorted(wanted.always.items()):
        if (name, version) not in there:
            yield f"{name} {version} is locked, and the image does not have it"
    allowed = {*wanted.always.items(), *wanted.some.items()}
    for name, version in sorted(there - allowed):
        if name != _UNLOCKED:
            yield f"the image has {name} {version}, which is not locked"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        raise SystemExit("usage: sbom.py FILE")
    found = list(installed(json.loads(Path(arguments[0]).read_text())))
    wrong = list(problems(found, locked(LOCK.read_text(), tomllib.loads(PROJECT.read_text())["project"])))
    print(*wrong, sep="\n", file=sys.stderr)
    print(f"{len(found)} Python packages")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
