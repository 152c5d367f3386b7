"""Changes to a module that should make a test fail."""

from __future__ import annotations

import ast

import pytest
from ci.mutants.__main__ import files_that_try, modules, source_of
from ci.mutants.mutate import mutants


@pytest.mark.parametrize(
    ("source", "mutated"),
    [
        ("a < b", ["a <= b"]),
        ("a in b", ["a not in b"]),
        ("a and b", ["a or b"]),
        ("a + b", ["a - b"]),
        ("a + 'text'", []),
        ("f(True)", ["f(False)"]),
        ("x = 2", ["x = 3"]),
        ("[a for a in b if a]", ["[a for a in b]"]),
        ("if a:\n    pass", ["if not a:\n    pass"]),
        ("for a in b:\n    continue", ["for a in b:\n    break"]),
        ("def f():\n    '''Text.'''\n    g()\n    return x", ["def f():\n    '''Text.'''\n    pass\n    return x"]),
        ("def f():\n    a.b = x", ["def f():\n    pass"]),
        ("def f(a: A | B) -> A | B:\n    b: A | B = a", []),
    ],
)
def test_each_change_is_a_mutant_of_its_own(source: str, mutated: list[str]) -> None:
    expected = [ast.unparse(ast.parse(each)) for each in mutated]
    assert [ast.unparse(mutant.tree) for mutant in mutants(source)] == expected


def test_every_module_has_tests() -> None:
    assert "plan" in modules()
    assert all(source_of(module).is_file() and files_that_try(module) for module in modules())
