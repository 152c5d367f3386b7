"""The namespaces that are operated: all, those that are named, and those that match a pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PATTERN = re.compile(r"[-a-z0-9*?!\[\], ]*[*?!\[,][-a-z0-9*?!\[\], ]*")


@dataclass(frozen=True, slots=True)
class Scope:
    """Names and patterns of namespaces; neither means all namespaces."""

    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def includes(self, namespace: str) -> bool:
        """Return whether a namespace is operated."""
        return not (self.names or self.patterns) or any(
            matches(namespace, pattern) for pattern in (*self.names, *self.patterns)
        )

    def __str__(self) -> str:
        return ", ".join((*self.names, *self.patterns)) or "all namespaces"


def parse_scope(arguments: Sequence[str]) -> Scope:
    """Return the scope of all `--namespace` arguments. Raises ValueError if one of them can match no namespace."""
    names = tuple(dict.fromkeys(text for text in arguments if _NAME.fullmatch(text)))
    patterns = tuple(dict.fromkeys(text for text in arguments if not _NAME.fullmatch(text)))
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"--namespace={pattern}: neither a namespace's name nor a pattern of names, as in dev-*")
    return Scope(names, patterns)


def matches(namespace: str, pattern: str) -> bool:
    """Return whether a namespace matches a pattern, as `kopf run --namespace` means it.

    A pattern is a list of globs. Those with `!` exclude namespaces; later ones include excluded namespaces again.
    """
    first, *others = [glob.strip() for glob in pattern.split(",")]
    if first.startswith("!"):
        first, others = "*", [first, *others]
    included = considered = fnmatchcase(namespace, first)
    for glob in others:
        if glob.startswith("!"):
            included = included and not fnmatchcase(namespace, glob.lstrip("!"))
        else:
            included = included or (considered and fnmatchcase(namespace, glob))
    return included
