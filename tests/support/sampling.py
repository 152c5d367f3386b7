"""Sampling of exhaustive tests: all cases, or every EVERYth, so that `make test` ends in time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
EVERY = int(os.environ.get("FAULTS_EVERY", "1"))


def sampled(cases: Sequence[T]) -> Sequence[T]:
    return cases[::EVERY]
