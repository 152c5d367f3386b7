"""Values that turn everything on in a chart, as a few sets of values that fit together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.charts.conftest import ROOT
from tests.charts.texts import Places, Values

CLUSTER, OPERATOR = "dask-cluster", "dask-kubernetes-operator"


@cache
def schema(chart: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "charts" / chart / "values.schema.json").read_text())
    return found


@dataclass(frozen=True)
class Rendering:
    """Values of a chart that fit together: the places left out, and the switches turned on."""

    name: str
    chart: str
    without: frozenset[str]
    off: tuple[str, ...]

    def places(self) -> Places:
        return Places(schema(self.chart), self.without)

    def values(self, places: Places) -> Values:
        values = places.values()
        for path in self.off:
            *above, name = path.split(".")
            at = values
            for step in above:
                at = at.setdefault(step, {})
            at[name] = False
        return values


def _but(where: str) -> set[str]:
    """Return the values that describe the operator's place, but for one of them."""
    return {
        f"networkPolicy.controller.{name}" for name in ("namespace", "namespaceSelector", "ipBlock") if name != where
    }


RENDERINGS = (
    Rendering(
        "a cluster",
        CLUSTER,
        frozenset({"global", "fullnameOverride", "job", *_but("namespace")}),
        ("job.enabled", "jupyter.enabled"),
    ),
    Rendering(
        "a job",
        CLUSTER,
        frozenset({"nameOverride", "job.configMap", *_but("namespaceSelector")}),
        ("jupyter.enabled",),
    ),
    Rendering(
        "a job of a ConfigMap",
        CLUSTER,
        frozenset({"nameOverride", "job.script", *_but("ipBlock")}),
        ("jupyter.enabled",),
    ),
    Rendering(
        "all namespaces",
        OPERATOR,
        frozenset({"scope", "nameOverride", "fullnameOverride", "metrics.worker.serviceMonitor", "extraObjects"}),
        ("crds.install", "metrics.prometheusRule.enabled", "metrics.dashboards.enabled"),
    ),
    Rendering(
        "one namespace",
        OPERATOR,
        frozenset(
            {
                "metrics.worker.podMonitor",
                # The alerts need the default labels.
                "metrics.scheduler.serviceMonitor.targetLabels",
                "metrics.worker.serviceMonitor.podTargetLabels",
                "extraObjects",
            }
        ),
        ("crds.install",),
    ),
)
