"""A Prometheus in a cluster, queried through the API server, and the queries of dashboards in its syntax."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.api_server import RequestError
from tests.support.kube import Kube

RANGE = "30s"
"""The value for the range that Grafana computes from the scrape interval."""


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus. `pod`: its name, in the namespace `monitoring`."""

    kube: Kube
    pod: str

    def ask(self, what: str, **parameters: str) -> Any:
        """Return the data of an HTTP API answer, or None."""
        path = f"/api/v1/namespaces/monitoring/pods/{self.pod}:9090/proxy/api/v1/{what}?{urlencode(parameters)}"
        try:
            return self.kube.server.get(path)["data"]
        except RequestError:
            return None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the current series of an expression."""
        found: list[dict[str, Any]] = (self.ask("query", query=expression) or {}).get("result", [])
        return found

    def targets(self, monitor: str) -> dict[str, str]:
        """Return the health of a monitor's targets, by Pod. `monitor`: as in podMonitor/namespace/name."""
        targets = (self.ask("targets", state="active") or {}).get("activeTargets", [])
        found = [target for target in targets if target["scrapePool"].startswith(f"{monitor}/")]
        return {target["labels"]["pod"]: target["health"] for target in found}

    def firing(self, alert: str, **labels: str) -> list[dict[str, Any]]:
        """Return the firing alerts of this name with these labels."""
        alerts = (self.ask("alerts") or {}).get("alerts", [])
        return [
            each
            for each in alerts
            if each["state"] == "firing" and labels.items() | {("alertname", alert)} <= each["labels"].items()
        ]


def queries(dashboard: Path, variables: Mapping[str, str]) -> list[str]:
    """Return the queries of a dashboard, with values for its variables."""
    panels = json.loads(dashboard.read_text())["panels"]
    return [substituted(target["expr"], variables) for panel in panels for target in panel["targets"]]


def substituted(query: str, variables: Mapping[str, str]) -> str:
    values = {"__rate_interval": RANGE, **variables}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], query)
