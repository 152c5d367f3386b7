"""Names in modules of earlier releases, which lead to where they are now."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def moved(module: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module whose names have moved, each to another module in `places`.

    The first use of a name has a DeprecationWarning that says from where to import it.
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place = places[name]
        warnings.warn(
            f"{module}.{name} is deprecated: write `from {place} import {name}`", DeprecationWarning, stacklevel=2
        )
        return getattr(import_module(place), name)

    return find
