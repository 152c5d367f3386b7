"""Objects with missing, wrong and additional values at every place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ODD: list[Any] = [None, True, 0, -1, 1.5, "", "x", "é🙂\u0000", [], [None], ["x"], [[]], {}, {"x": None}, {"": []}]


def twisted(raw: Any) -> Iterator[Any]:
    """Yield the JSON with each of its parts in turn missing or odd."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield {k: v for k, v in raw.items() if k != key}
            for odd in ODD:
                yield raw | {key: odd}
            for inner in twisted(value):
                yield raw | {key: inner}
    if isinstance(raw, list):
        for place, value in enumerate(raw):
            for inner in [*ODD, *twisted(value)]:
                yield [*raw[:place], inner, *raw[place + 1 :]]
