"""Documents for users, and their blocks of code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from docs.included import ROOT

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "UPGRADING.md", "CONTRIBUTING.md")),
    *sorted(ROOT.glob("charts/*/README.md")),
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if "build" not in path.parts),
]
_BLOCK = re.compile(
    r"^(?:<!-- not executed: (?P<reason>[^\n]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_NAMED = re.compile(r"# (?P<file>[\w-]+\.ya?ml)\n")


class Block(NamedTuple):
    """A block of code in a document. `line`: of its first line; `reason`: for not executing it."""

    document: Path
    line: int
    language: str
    text: str
    reason: str

    @property
    def file(self) -> str:
        """The file that the reader makes of it, named in its first line, or ""."""
        named = _NAMED.match(self.text)
        return named["file"] if named else ""

    @property
    def commands(self) -> list[str]:
        """The commands of a console block: the lines with a prompt, or all if no line has one."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")] or lines

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}: {self.text.splitlines()[0]}"


def blocks(document: Path, *languages: str, section: str = "") -> list[Block]:
    """Return the blocks of a document, or of the section with this heading, in their order."""
    text = document.read_text()
    found = (
        Block(document, text.count("\n", 0, m.start("text")) + 1, m["language"], m["text"], m["reason"] or "")
        for m in _BLOCK.finditer(text)
        if _heading(text[: m.start()]) == section or not section
    )
    return [block for block in found if block.language in languages]


class Page(NamedTuple):
    """A document, or its section with this heading, that a reader follows from beginning to end."""

    document: Path
    section: str = ""

    def blocks(self, *languages: str) -> list[Block]:
        return blocks(self.document, *languages, section=self.section)

    def __str__(self) -> str:
        return str(self.document.relative_to(ROOT))


# Pages whose blocks of Python are executed, all of a page in one program.
PAGES = [
    Page(ROOT / "README.md", "From Python"),
    Page(ROOT / "charts/dask-cluster/README.md"),
    *(
        Page(ROOT / "docs" / f"{name}.md")
        for name in ("python", "python-customise", "private-registry", "classic", "kubeflow")
    ),
]


def prose(document: Path) -> str:
    """Return a document without its blocks."""
    return _BLOCK.sub("", document.read_text())


def _heading(before: str) -> str:
    """Return the last heading of the second level in the text."""
    headings = re.findall(r"^## (.+)$", _BLOCK.sub("", before), re.MULTILINE)
    return headings[-1] if headings else ""
