"""The totals of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass
class Tally:
    """Totals of a run. `lost`: results; `failed`: tasks; `wrong_group`, `too_many`: workers deleted by mistake.

    `retired`, `refused`: workers, as the controller's log says, and `questions`: what it asks the scheduler; the others
    write no such log and are not counted.
    """

    scale_downs: int = 0
    workers_deleted: int = 0
    results_checked: int = 0
    lost: int = 0
    failed: int = 0
    wrong_group: int = 0
    too_many: int = 0
    retired: int = 0
    refused: int = 0
    sums_right: int = 0
    sums_wrong: int = 0
    tasks: int = 0
    tasks_run_again: int = 0
    shuffles: int = 0
    shuffles_restarted: int = 0
    seconds_per_scale_down: float = 0.0
    questions: int = 0

    def __add__(self, other: Tally) -> Tally:
        totals = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        spent = sum(each.seconds_per_scale_down * each.scale_downs for each in (self, other))
        return Tally(**totals | {"seconds_per_scale_down": spent / max(totals["scale_downs"], 1)})

    def count_shuffles(self, log: str) -> None:
        """Count the P2P shuffles in a scheduler's log."""
        self.shuffles, self.shuffles_restarted = log.count(" initialized by task"), log.count(" restarted due to")


def table(tallies: Mapping[str, Tally]) -> str:
    """Return the totals of several runs side by side, in Markdown."""
    lines = [f"| | {' | '.join(tallies)} |", "|---|" + "---:|" * len(tallies)]
    for each in fields(Tally):
        values = " | ".join(f"{getattr(tally, each.name):,.5g}" for tally in tallies.values())
        lines.append(f"| {each.name.replace('_', ' ')} | {values} |")
    return "\n".join(lines)
