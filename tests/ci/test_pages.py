"""Faults of built pages are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from ci.verify.pages import main, problems


def _problems(folder: Path, html: str) -> list[str]:
    (folder / "below").mkdir()
    (folder / "below" / "page.html").write_text('<h1 id="here">Page</h1>')
    (folder / "_static").mkdir()
    (folder / "_static" / "template.html").write_text('<script src="https://example.com/{{ x }}"></script>')
    (folder / "_static" / "a.css").write_text("")
    (folder / "index.html").write_text(html)
    return list(problems(folder))


@pytest.mark.parametrize(
    "html",
    [
        '<link rel="stylesheet" href="_static/a.css?v=1"><script src="_static/a.css"></script>',
        '<link rel="canonical" href="https://example.com/">',
        '<img src="data:image/png;base64,AAAA">',
        '<a href="https://example.com/gone">elsewhere</a>',
        '<a href="below/page.html">page</a><a href="below/page.html#here">place</a><a href="_static/a.css">file</a>',
        '<p id="top"></p><a href="#top">top</a><a name="old"></a><a href="#old">old</a>',
    ],
)
def test_what_is_right_is_no_problem(tmp_path: Path, html: str) -> None:
    assert _problems(tmp_path, html) == []


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<script src="https://example.com/a.js"></script>', "loads https://example.com/a.js"),
        ('<link rel="stylesheet" href="//example.com/a.css">', "loads //example.com/a.css"),
        ('<iframe src="https://example.com/"></iframe>', "loads https://example.com/"),
        ('<img src="_static/gone.png">', "loads _static/gone.png, which does not exist"),
        ('<a href="gone.html">gone</a>', "links to gone.html, which does not exist"),
        ('<a href="below/page.html#gone">gone</a>', "links to below/page.html#gone, which does not exist"),
        ('<a href="#gone">gone</a>', "links to #gone, which does not exist"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, html: str, problem: str) -> None:
    assert _problems(tmp_path, html) == [f"index.html {problem}"]


def test_the_exit_code_says_whether_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "index.html").write_text("<p>text</p>")
    assert main([str(tmp_path)]) == 0
    (tmp_path / "index.html").write_text('<a href="gone.html">gone</a>')
    assert main([str(tmp_path)]) == 1
    assert "gone.html" in capsys.readouterr().err
