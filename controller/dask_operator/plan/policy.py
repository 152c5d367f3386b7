"""Settings of an administrator for all plans."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """`batch_size`: how many workers of a group one plan creates; `batch_delay`: seconds between two such plans.

    `ipv6`: Pods and Services have addresses of IPv6 unless they ask for others.
    """

    batch_size: int = 500
    batch_delay: float = 0.0
    ipv6: bool = False
