"""The form of docstrings: functions start with an imperative verb, everything else with a noun phrase or a sentence."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.included import ROOT

# Folders of the repository whose docstrings have this form.
CHECKED = ("client", "controller", "bench", "ci", "docs", "tests")

# Openings that leave out the subject, or make a reader wait for it.
_HEADLESS = """
    What Who Whom Whose Which That This Those These Where When While Whether Why How Of One Ones By As From In On For
    If So At With Without To Until After Before Because Since Though But And Or Also Not None Nothing Nobody Somebody
    Something Everything Anything Whatever Whoever Is Are Has
"""
_VERBS = """
    Accept Acquire Act Add Allow Alternate Answer Append Apply Ask Assert Await Bring Build Calculate Call Cancel Cause
    Check Choose Claim Clear Close Collect Compare Compute Configure Connect Convert Copy Count Create Cut Decide Decode
    Delete Describe Detect Discard Divide Do Download Drain Drop
    Encode End Enqueue Ensure Evict Execute Expand Fail Fill Filter
    Find Fold Follow Format Forward Generate Give Grow Handle Hash Import Install Iterate Join Keep Kill Leave Let Limit
    List Listen Load Lock Log Make Manage Mark Match Measure Merge Move Note Notify Observe Open Order Parse Patch Plan
    Play Plot Poll Post Print Prune Publish Put Query Raise Read Reconcile Record Redirect Refuse Register Release
    Reload Remove Renew Repeat Replace Report Request Reset Resolve Restart Restore Retire Retry Return Run Save Say
    Scale Schedule See Select Send Serve Set Show Shut Skip Sleep Sort Split Start Stop Store Subscribe Sum Suspend Take
    Tell Test Translate Try Turn Undo Update Upgrade Use Validate Verify Wait Walk Warn Watch Wrap Write Yield
"""
HEADLESS = frozenset(_HEADLESS.split())
VERBS = frozenset(_VERBS.split())
# Properties and fixtures are values to those who use them.
VALUES = frozenset({"property", "cached_property", "fixture"})


def faults(source: str) -> Iterator[str]:
    """Yield the first line of each docstring whose opening does not have the form of its kind."""
    for node, text in _docstrings(_parsed(source)):
        if not _is_good(node, text.split()[0].rstrip(".,:;"), text):
            yield f"{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}"


def _parsed(source: str) -> ast.Module:
    """Parse without garbage collection: a finalizer may let another thread parse, an error in Python 3.11."""
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        gc.enable()


def _is_good(node: ast.stmt | ast.Module, opening: str, text: str) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_value(node):
        return opening in VERBS
    # A value that is true or false may say when it is true.
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef) and opening == "Whether":
        return True
    return opening not in HEADLESS and not _is_third_person(opening) and not text.startswith("The same")


def _is_third_person(word: str) -> bool:
    return word.removesuffix("s") in VERBS - {word} or word.removesuffix("es") in VERBS - {word}


def _is_value(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    called = (each.func if isinstance(each, ast.Call) else each for each in node.decorator_list)
    return any(ast.unparse(each).rpartition(".")[2] in VALUES for each in called)


def _docstrings(module: ast.Module) -> Iterator[tuple[ast.Module | ast.stmt, str]]:
    """Yield modules, classes, functions and assignments, each with its docstring."""
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                yield node, text
            for assignment, after in zip(node.body, node.body[1:], strict=False):
                if isinstance(assignment, ast.Assign | ast.AnnAssign) and (text := _text(after)):
                    yield assignment, text


def _text(node: ast.stmt) -> str:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return node.value.value.strip() if is_text else ""  # type: ignore[attr-defined]


def _files() -> Iterator[Path]:
    for name in CHECKED:
        yield from sorted((ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("file", list(_files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_have_the_form_of_their_kind(file: Path) -> None:
    assert list(faults(file.read_text())) == []


def _function(text: str, decorator: str = "") -> str:
    return f'{decorator}\ndef f():\n    """{text}"""\n'


@pytest.mark.parametrize(
    ("source", "good"),
    [
        ('"""Manifests of Pods."""', True),
        ('"""`dask kubernetes`, a command."""', True),
        ('"""What Kubernetes has."""', False),
        ('"""Of which there are two."""', False),
        ('class A:\n    """A cluster."""', True),
        ('class A:\n    """Deletes a cluster."""', False),
        ('class A:\n    """Whether it runs."""', False),
        (_function("Return the name."), True),
        (_function("Returns the name."), False),
        (_function("The name."), False),
        (_function("`name` of a Pod."), False),
        (_function("Whether it runs."), False),
        (_function("The name.", "@property"), True),
        (_function("Whether it runs.", "@property"), True),
        (_function("Of a cluster.", "@property"), False),
        (_function("The same as `name`.", "@property"), False),
        (_function("A cluster.", '@pytest.fixture(scope="module")'), True),
        (f"async {_function('The name.').strip()}", False),
        ('NAME = 1\n"""The name."""', True),
        ('NAME = 1\n"""By kind."""', False),
        ('class A:\n    made: bool\n    """Whether it was made."""', True),
        ("def f(): ...", True),
    ],
)
def test_faults_are_found(source: str, good: bool) -> None:
    assert (list(faults(source)) == []) is good
