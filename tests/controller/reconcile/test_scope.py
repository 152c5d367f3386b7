from __future__ import annotations

import pytest

# There is no public name for what `kopf run --namespace` means.
from kopf._cogs.structs.references import NamespaceName, match_namespace

from dask_operator.reconcile.scope import Scope, matches, parse_scope


def test_names_and_patterns() -> None:
    assert parse_scope([]) == Scope()
    assert parse_scope(["one", "two", "one"]) == Scope(("one", "two"))
    assert parse_scope(["one", "dev-*", "!prod", "a?", "dev-*, !dev-x", "a[12]"]) == Scope(
        ("one",), ("dev-*", "!prod", "a?", "dev-*, !dev-x", "a[12]")
    )
    assert str(parse_scope(["one", "dev-*"])) == "one, dev-*"
    assert str(Scope()) == "all namespaces"


@pytest.mark.parametrize("name", ["", "Dev", "a_b", "-a", "a" * 64, "dev_*", " "])
def test_what_can_be_no_namespace_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="neither a namespace's name nor a pattern of names"):
        parse_scope([name])


@pytest.mark.parametrize(
    ("patterns", "included", "excluded"),
    [
        ([], ["anything"], []),
        (["one"], ["one"], ["two", "one-1"]),
        (["dev-*"], ["dev-", "dev-a"], ["dev", "a-dev-b"]),
        (["dev-*,!dev-x"], ["dev-a"], ["dev-x", "prod"]),
        (["dev-*, !dev-x*, dev-x1"], ["dev-a", "dev-x1"], ["dev-x2"]),
        (["!prod"], ["anything"], ["prod"]),
        (["a?"], ["ab"], ["a", "abc"]),
        (["one", "dev-*"], ["one", "dev-a"], ["two"]),
    ],
)
def test_patterns_mean_what_kopf_says(patterns: list[str], included: list[str], excluded: list[str]) -> None:
    scope = parse_scope(patterns)
    assert [name for name in (*included, *excluded) if scope.includes(name)] == included


PATTERNS = (
    *("a", "dev-*", "a?", "a[12]", "a[!12]", "*", "!a", "!dev-*", "!*", "!!a", ",", "a,", ",a", "!", "a,b", " a , b "),
    *("dev-*,!dev-x", "dev-*, !dev-x*, dev-x1", "!dev-*, dev-x", "a, !a", "a, !a, a", "!a, !b", "b, !dev-x, dev-*"),
    *("myapp-*, !*-pr-*, *pr-123", "!*-pr-*, *pr-123", "*, !*", "!*, a", "[", "[]", "a]", "dev-**", "?, !b"),
)
NAMES = ("a", "b", "ab", "a1", "a3", "dev", "dev-", "dev-a", "dev-x", "dev-x1", "myapp-pr-1", "myapp-pr-123", "pr-1")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_matches_what_it_matches_in_kopf(pattern: str) -> None:
    in_kopf = [name for name in NAMES if match_namespace(NamespaceName(name), pattern)]
    assert [name for name in NAMES if matches(name, pattern)] == in_kopf
