"""A Sphinx extension: `{include}` shows files from elsewhere in the repository, with working links.

Links are relative to the file that contains them, as on the site where the repository is published. A link to a file
with a page here becomes a link to the page. A link to any other file outside this folder goes to the published file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PUBLISHED = "https://github.com/dask/dask-kubernetes"

_DIRECTIVE = re.compile(r"^```\{include\} (?P<path>\S+)\n(?P<options>(?::[a-z-]+: .*\n)*)```$", re.MULTILINE)
_OPTION = re.compile(r"^:([a-z-]+): (.*)$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def expanded(text: str, page: Path, pages: Mapping[Path, Path]) -> str:
    """Return a page with its included files. `pages`: repository files and their pages."""

    def _linked(text: str, source: Path) -> str:
        return _LINK.sub(lambda link: f"]({_target(source, link[1], page, pages)}{link[2] or ''})", text)

    def _included(directive: re.Match[str]) -> str:
        source = (page.parent / directive["path"]).resolve()
        return _linked(_part(source.read_text(), dict(_OPTION.findall(directive["options"])), source), source)

    return _DIRECTIVE.sub(_included, _linked(text, page))


def included(docs: Path = DOCS) -> dict[Path, Path]:
    """Return the files that a page includes as a whole, each with its page."""
    whole = (
        ((page.parent / directive["path"]).resolve(), page)
        for page in sorted(docs.rglob("*.md"))
        for directive in _DIRECTIVE.finditer(page.read_text())
        if not directive["options"]
    )
    return dict(whole)


def _part(text: str, options: Mapping[str, str], source: Path) -> str:
    for option, keep in (("start-after", -1), ("end-before", 0)):
        if option in options:
            before, marker, after = text.partition(options[option])
            if not marker:
                raise ValueError(f"{source} has no {options[option]!r}")
            text = (before, after)[keep]
    return text


def _target(source: Path, link: str, page: Path, pages: Mapping[Path, Path]) -> str:
    """Return the target of a file's link, on the page that includes the file."""
    target = (source.parent / link).resolve()
    if target in pages or target.is_relative_to(DOCS):
        return os.path.relpath(pages.get(target, target), page.parent)
    kind = "tree" if target.is_dir() else "blob"
    return f"{PUBLISHED}/{kind}/main/{target.relative_to(ROOT)}"


def setup(app: Any) -> dict[str, bool]:
    """Register the Sphinx extension."""
    pages = included()

    def _expand(_: Any, name: str, source: list[str]) -> None:
        source[0] = expanded(source[0], DOCS / f"{name}.md", pages)

    app.connect("source-read", _expand)
    return {"parallel_read_safe": True}
