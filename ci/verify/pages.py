"""Check a folder of HTML pages: links lead to existing pages and anchors, and nothing loads from elsewhere.

pages.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

# Elements that a browser loads by itself, each with its address attribute.
_LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
# Relations in the head that a browser does not load.
_TOLD = frozenset({"canonical", "index", "search", "next", "prev", "author", "copyright"})

# Assets, not pages: a theme may have templates there.
_ASSETS = "_static"


class Page(NamedTuple):
    """A page's loaded files, its links, and the anchors that links can lead to."""

    loaded: tuple[str, ...]
    links: tuple[str, ...]
    places: frozenset[str]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.places.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        told = tag == "link" and values.get("rel", "") in _TOLD
        if not told and _LOADED.get(tag) in values:
            self.loaded.append(values[_LOADED[tag]])


def read(html: str) -> Page:
    reader = _Reader()
    reader.feed(html)
    return Page(tuple(reader.loaded), tuple(reader.links), frozenset(reader.places))


def problems(folder: Path) -> Iterator[str]:
    folder = folder.resolve()
    files = (path for path in sorted(folder.rglob("*.html")) if path.relative_to(folder).parts[0] != _ASSETS)
    pages = {path: read(path.read_text()) for path in files}
    for path, page in pages.items():
        name = path.relative_to(folder)
        for address in page.loaded:
            if urlsplit(address).netloc:
                yield f"{name} loads {address}"
            elif not address.startswith("data:") and not (path.parent / unquote(urlsplit(address).path)).exists():
                yield f"{name} loads {address}, which does not exist"
        for link in page.links:
            if not _leads_somewhere(path, link, pages):
                yield f"{name} links to {link}, which does not exist"


def _leads_somewhere(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not parts.fragment or target not in pages:
        return target.exists()
    return unquote(parts.fragment) in pages[target].places


def main(arguments: list[str]) -> int:
    (folder,) = arguments
    found = list(problems(Path(folder)))
    for problem in found:
        print(problem, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
