"""Values of JSON as Python's. A missing or wrong value becomes an empty one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

_LONGEST_NUMBER = 18
_LARGEST_ORDINAL = 10**12  # the ordinals after it must be readable too
_DIFFERENCE = 60.0


def timestamp(value: str) -> float:
    """Return the seconds since the epoch of a time as Kubernetes writes it (RFC 3339), 0.0 if it is none."""
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError:
        return 0.0


def may_have_passed(at: float, now: float) -> bool:
    """Return whether a time that another clock gave may have passed: a minute is what clocks may differ by.

    A later one comes of a clock that was wrong, ours or another, and would hold up what waits for it.
    """
    return at <= now + _DIFFERENCE


def rfc3339(at: float) -> str:
    """Return a time in seconds since the epoch as Kubernetes writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def texts(value: object) -> Mapping[str, str]:
    return {key: text for key, text in mapping(value).items() if isinstance(text, str)}


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def at(raw: object, *keys: str) -> Mapping[str, Any]:
    """Return the mapping at a path of keys, an empty one if there is none."""
    for key in keys:
        raw = mapping(raw).get(key)
    return mapping(raw)


def mappings(value: object) -> list[Mapping[str, Any]]:
    return list(_only_mappings(value)) if isinstance(value, list) else []


def _only_mappings(values: Iterable[object]) -> Iterator[Mapping[str, Any]]:
    return (value for value in values if isinstance(value, dict))


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def number(text: str | None) -> int | None:
    """Return a whole number that fits into 64 bits, None for any other text."""
    return int(text) if text and len(text) <= _LONGEST_NUMBER and text.isdecimal() else None


def integer(value: object, default: int = 0) -> int:
    return value if isinstance(value, int) else default


def ordinal(noted: object) -> int:
    """Return a worker's ordinal, -1 for none. A number that no group reaches counts as none."""
    return noted if is_number(noted) and isinstance(noted, int) and 0 <= noted <= _LARGEST_ORDINAL else -1


def is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def positive(value: object) -> float | None:
    """Return a number of at least 0, None if it is none."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    return float(number) if 0 <= number < float("inf") else None


def seconds(value: object) -> float:
    return timestamp(value) if isinstance(value, str) else 0.0
