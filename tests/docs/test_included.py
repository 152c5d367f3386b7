"""Included pages from elsewhere in the repository are shown whole or in part, with working links."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs.included import DOCS, PUBLISHED, ROOT, expanded, included

PAGE = DOCS / "reference" / "page.md"


def _directive(path: str, options: str = "") -> str:
    return f"before\n\n```{{include}} {path}\n{options}```\n\nafter\n"


def _shown(folder: Path, text: str, options: str = "", pages: dict[Path, Path] | None = None) -> str:
    (folder / "file.md").write_text(text)
    return expanded(_directive(f"{folder}/file.md", options), PAGE, pages or {})


def test_the_whole_file_stands_where_it_is_included(tmp_path: Path) -> None:
    assert _shown(tmp_path, "# Title\n\ntext") == "before\n\n# Title\n\ntext\n\nafter\n"


def test_a_part_stands_between_its_markers(tmp_path: Path) -> None:
    options = ":start-after: # Title\n:end-before: ## Later\n"
    assert _shown(tmp_path, "# Title\ntext\n## Later\nmore", options) == "before\n\n\ntext\n\n\nafter\n"


@pytest.mark.parametrize("option", ["start-after", "end-before"])
def test_a_marker_that_is_gone_is_an_error(tmp_path: Path, option: str) -> None:
    with pytest.raises(ValueError, match="has no '## Gone'"):
        _shown(tmp_path, "# Title\n", f":{option}: ## Gone\n")


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("https://www.dask.org", "https://www.dask.org"),
        ("#values", "#values"),
        ("docs/promises.md", "../promises.md"),
        ("docs/index.md#go-on", "../index.md#go-on"),
        ("docs/images/a.svg", "../images/a.svg"),
        ("UPGRADING.md", "../migrate.md"),
        ("UPGRADING.md#going-back", "../migrate.md#going-back"),
        ("LICENSE", f"{PUBLISHED}/blob/main/LICENSE"),
        ("tests/examples", f"{PUBLISHED}/tree/main/tests/examples"),
    ],
)
def test_links_lead_where_they_led(monkeypatch: pytest.MonkeyPatch, link: str, target: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: f"[here]({link})")
    shown = expanded(_directive("../../README.md"), PAGE, {ROOT / "UPGRADING.md": DOCS / "migrate.md"})
    assert shown == f"before\n\n[here]({target})\n\nafter\n"


def test_links_of_the_page_itself_may_leave_the_folder() -> None:
    text = "[a](../../LICENSE) [b](../promises.md#x) [c](dask-cluster.md) [d](../../UPGRADING.md)"
    linked = f"[a]({PUBLISHED}/blob/main/LICENSE) [b](../promises.md#x) [c](dask-cluster.md) [d](../migrate.md)"
    assert expanded(text, PAGE, {ROOT / "UPGRADING.md": DOCS / "migrate.md"}) == linked


def test_pages_of_whole_files_are_known_and_those_of_parts_are_not() -> None:
    pages = included()
    assert pages[ROOT / "UPGRADING.md"] == DOCS / "migrate.md"
    assert pages[ROOT / "charts/dask-cluster/README.md"] == DOCS / "reference/dask-cluster.md"
    assert ROOT / "README.md" not in pages
