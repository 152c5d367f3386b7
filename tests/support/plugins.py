"""The plugins in tests/plugins, installed into a folder as pip would, without pip."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

PLUGINS = Path(__file__).parents[1] / "plugins"


def install(folder: Path, *packages: str) -> None:
    """Make packages and their entry points available where `folder` is in Python's path."""
    for package in packages:
        shutil.copytree(PLUGINS / package / package, folder / package)
        project = tomllib.loads((PLUGINS / package / "pyproject.toml").read_text())["project"]
        info = folder / f"{package}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {project['version']}\n")
        lines = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in project["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))
