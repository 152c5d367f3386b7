"""Small changes to a Python module, each of which should make a test fail. Text stays as it is."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


Change = Callable[[Any], None]


@dataclass(frozen=True)
class Mutant:
    """A change to a module. `line`: of the source; `what`: in words; `node`: the number of the changed node."""

    line: int
    what: str
    original: ast.Module
    node: int
    change: Change

    @property
    def tree(self) -> ast.Module:
        """The changed module."""
        tree = copy.deepcopy(self.original)
        self.change(next(each for number, each in enumerate(ast.walk(tree)) if number == self.node))
        return ast.fix_missing_locations(tree)


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, always in the same order."""
    original = ast.parse(source)
    annotations = {each for node in ast.walk(original) for of in _annotations(node) for each in ast.walk(of)}
    for number, node in enumerate(ast.walk(original)):
        if node in annotations:
            continue  # only the type checker reads it
        for what, change in _changes(node):
            yield Mutant(getattr(node, "lineno", 0), what, original, number, change)


def _annotations(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.AnnAssign(annotation=annotation) | ast.arg(annotation=ast.expr() as annotation):
            return [annotation]
        case ast.FunctionDef(returns=ast.expr() as returns) | ast.AsyncFunctionDef(returns=ast.expr() as returns):
            return [returns]
    return []


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """Yield the changes of a node, in words and as a function that changes a copy of the node."""
    yield from _operators(node)
    match node:
        case ast.If() | ast.IfExp() | ast.While():
            yield (
                "its condition is negated",
                lambda copied: setattr(copied, "test", ast.UnaryOp(ast.Not(), copied.test)),
            )
        case ast.comprehension(ifs=[_, *_]):
            yield "its conditions are dropped", lambda copied: setattr(copied, "ifs", [])
        case ast.Constant(value=bool() as value):
            yield f"{value} becomes {not value}", lambda copied: setattr(copied, "value", not value)
        case ast.Constant(value=int() | float() as number):
            yield f"{number} becomes {number + 1}", lambda copied: setattr(copied, "value", number + 1)
        case ast.Continue():
            yield "continue becomes break", lambda copied: setattr(copied, "__class__", ast.Break)
    yield from _removals(node)


def _operators(node: ast.AST) -> Iterator[tuple[str, Change]]:
    match node:
        case ast.Compare(ops=[op]):
            other: type[ast.AST] = _COMPARISONS[type(op)]
            yield f"{type(op).__name__} becomes {other.__name__}", lambda copied: setattr(copied, "ops", [other()])
        case ast.BoolOp(op=op):
            other = ast.Or if isinstance(op, ast.And) else ast.And
            yield f"{type(op).__name__} becomes {other.__name__}", lambda copied: setattr(copied, "op", other())
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC and not _is_text(node):
            other = _ARITHMETIC[type(op)]
            yield f"{type(op).__name__} becomes {other.__name__}", lambda copied: setattr(copied, "op", other())


def _removals(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """Yield the removal of each statement in a block that only has an effect, such as a call or a yield."""
    body = [] if isinstance(node, ast.Module) else getattr(node, "body", [])
    for position, statement in enumerate(body if isinstance(body, list) else []):
        if _only_does_something(statement):
            text = ast.unparse(statement).splitlines()[0]
            yield f"removed: {text}", lambda copied, at=position: copied.body.__setitem__(at, ast.Pass())  # type: ignore[misc]


def _only_does_something(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=value):
            return not isinstance(value, ast.Constant)
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return True
    return False


def _is_text(node: ast.BinOp) -> bool:
    """Return whether an operand is text or a collection, for which arithmetic means something else."""
    return any(
        isinstance(side, ast.JoinedStr | ast.List | ast.Tuple | ast.Dict | ast.Set)
        or (isinstance(side, ast.Constant) and not isinstance(side.value, int | float))
        for side in (node.left, node.right)
    )
