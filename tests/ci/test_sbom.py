"""A bill of materials must have exactly the locked packages."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from ci.verify.sbom import LOCK, PROJECT, Locked, installed, locked, main, problems

LOCKED = Locked({"aiohttp": "3.14.5", "dask-operator": "0.1.0"}, {"zipp": "4.1.2"})
RIGHT = [("aiohttp", "3.14.5"), ("dask-operator", "0.1.0"), ("pip", "23.0.1")]
TEXT = """\
aiohttp==3.14.5 \\
    --hash=sha256:00
    # via kopf
zipp==4.1.2 ; python_full_version < '3.12' \\
    --hash=sha256:00
"""


def test_what_is_locked_is_right_whether_or_not_there_is_what_some_pythons_need() -> None:
    assert list(problems(RIGHT, LOCKED)) == []
    assert list(problems([*RIGHT, ("zipp", "4.1.2")], LOCKED)) == []


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (RIGHT[1:], "aiohttp 3.14.5 is locked, and the image does not have it"),
        ([*RIGHT[1:], ("aiohttp", "3.14.4")], "aiohttp 3.14.5 is locked, and the image does not have it"),
        ([*RIGHT, ("aiohttp", "3.14.4")], "the image has aiohttp 3.14.4, which is not locked"),
        ([*RIGHT, ("setuptools", "80")], "the image has setuptools 80, which is not locked"),
        ([*RIGHT, ("zipp", "4.1.1")], "the image has zipp 4.1.1, which is not locked"),
        ([], "dask-operator 0.1.0 is locked, and the image does not have it"),
    ],
)
def test_what_is_not(found: list[tuple[str, str]], problem: str) -> None:
    assert problem in list(problems(found, LOCKED))


def test_a_lock_is_read() -> None:
    assert locked(TEXT, {"name": "dask_operator", "version": "0.1.0"}) == LOCKED


def test_the_controllers_lock_is_read_whole() -> None:
    read = locked(LOCK.read_text(), tomllib.loads(PROJECT.read_text())["project"])
    assert len(read.always) + len(read.some) == LOCK.read_text().count("==") + 1
    assert {"kopf", "aiohttp", "distributed", "dask-operator"} <= set(read.always)


def test_packages_are_known_by_what_they_are_called_anywhere() -> None:
    packages = [
        {"name": "x"},
        {"name": "Foo", "externalRefs": [{"referenceLocator": "cpe:2.3:a:x"}]},
        {"name": "Foo", "externalRefs": [{"referenceLocator": "pkg:pypi/Foo_Bar@1.0"}]},
        {"name": "libc6", "externalRefs": [{"referenceLocator": "pkg:deb/debian/libc6@2.36"}]},
    ]
    assert list(installed({"packages": packages})) == [("foo-bar", "1.0")]


def test_what_is_wrong_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sbom.json"
    file.write_text(json.dumps({"packages": []}))
    assert main([str(file)]) == 1
    assert "kopf" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="usage"):
        main([])
