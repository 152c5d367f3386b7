"""Alerts fire when they should and only then, and every alert and dashboard is complete."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.conftest import ROOT, Render

CHART = ROOT / "charts/dask-kubernetes-operator"
CASES = Path(__file__).parent / "rules"
RULES = sorted(CHART.glob("files/rules/*/*.yaml"))
DASHBOARDS = sorted(CHART.glob("files/dashboards/*.json"))
MONITORED = {
    "metrics.scheduler": {"enabled": True, "serviceMonitor": {"enabled": True}},
    "metrics.worker": {"enabled": True, "podMonitor": {"enabled": True}},
    "metrics.controller.podMonitor.enabled": True,
    "metrics.prometheusRule.enabled": True,
    "metrics.dashboards.enabled": True,
}


@pytest.fixture(scope="session")
def promtool() -> Path:
    built = subprocess.run([ROOT / "ci/tools/build.sh", "prometheus"], check=True, capture_output=True, text=True)
    return Path(built.stdout.strip()) / "promtool"


@pytest.fixture
def rules(render: Render, tmp_path: Path) -> Path:
    """The rendered rules as a file for Prometheus, without annotations, which promtool compares word by word."""
    (rendered,) = (manifest for manifest in render(CHART.name, MONITORED) if manifest["kind"] == "PrometheusRule")
    groups = rendered["spec"]["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        del rule["annotations"]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups}))
    return path


@pytest.mark.parametrize("alert", [path.stem for path in RULES])
def test_alert_fires_when_it_should_and_not_else(promtool: Path, rules: Path, alert: str) -> None:
    expected = [
        case["alert_rule_test"][0]["exp_alerts"] for case in yaml.safe_load(case_of(alert).read_text())["tests"]
    ]
    assert any(expected), "a case in which it fires"
    assert not all(expected), "a case in which it does not"
    shutil.copy(case_of(alert), rules.parent)
    done = subprocess.run(
        [promtool, "test", "rules", rules.parent / case_of(alert).name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_as_promtool_wants_them(promtool: Path, rules: Path) -> None:
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=all", rules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def test_every_alert_is_a_file_with_its_cases_and_its_runbook() -> None:
    names = {path.stem for path in RULES}
    assert names == {yaml.safe_load(path.read_text())["alert"] for path in RULES}
    assert names == {path.stem for path in CASES.glob("*.yaml")}
    assert names == {path.stem for path in (ROOT / "docs/runbooks").glob("Dask*.md")}


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_alert_says_what_is_wrong(path: Path) -> None:
    rule = yaml.safe_load(path.read_text())
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_alerts_lead_to_their_runbooks(render: Render) -> None:
    (rendered,) = (manifest for manifest in render(CHART.name, MONITORED) if manifest["kind"] == "PrometheusRule")
    for rule in (rule for group in rendered["spec"]["groups"] for rule in group["rules"]):
        repository, _, page = rule["annotations"]["runbook_url"].partition("/blob/main/")
        assert repository == yaml.safe_load((CHART / "Chart.yaml").read_text())["sources"][0]
        assert (ROOT / page).is_file(), page


def queries(dashboard: Path) -> list[str]:
    panels = json.loads(dashboard.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_is_found_by_its_name_and_asks_the_chosen_source(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert dashboard["uid"] == path.stem
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in dashboard["panels"]:
        assert panel["description"]
        assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [source] * (
            len(panel["targets"]) + 1
        )
    for query in queries(path):
        used = set(re.findall(r"\$(\w+)", query)) - {"__rate_interval"}
        assert used == variables - {"datasource"}, query


def test_what_is_asked_of_the_controller_exists() -> None:
    package = ROOT / "controller/dask_operator"
    code = "".join((package / file).read_text() for file in ("process/gauges.py", "metrics.py"))
    asked = {
        name for path in (*RULES, *DASHBOARDS) for name in re.findall(r"\bdask_operator_([a-z_]+)", path.read_text())
    }
    assert len(asked) > 10
    for name in asked:
        stem = re.sub("_(total|bucket|count|info)$", "", name)
        assert re.search(rf'["_]{stem}"', code), name


def case_of(alert: str) -> Path:
    return CASES / f"{alert}.yaml"


def monitors(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {m["metadata"]["name"]: m["spec"] for m in manifests if m["kind"] in ("ServiceMonitor", "PodMonitor")}


def test_monitors_of_one_release_give_what_those_of_all_clusters_give(render: Render) -> None:
    """Compare the labels of their metrics, which dashboards and alerts use."""
    enabled = {f"{kind}Monitor.enabled": True for kind in ("service", "pod")}
    one, all_ = monitors(render("dask-cluster", enabled)), monitors(render(CHART.name, MONITORED))
    for part in ("scheduler", "worker"):
        own, common = one[f"release-{part}"], all_[f"release-{CHART.name}-{part}"]
        for key in ("targetLabels", "podTargetLabels", "jobLabel"):
            assert own.get(key) == common.get(key)
        assert own["selector"]["matchLabels"].items() > common["selector"]["matchLabels"].items()
        assert _port(own) == _port(common)


def _port(monitor: dict[str, Any]) -> str:
    (endpoint,) = monitor.get("endpoints") or monitor["podMetricsEndpoints"]
    return str(endpoint["port"])


def test_both_spellings_of_the_workers_monitor_mean_the_same(render: Render) -> None:
    keys = {"enabled": True, "interval": "7s", "namespace": "monitoring", "jobLabel": "a"}
    made = [
        render(CHART.name, {"metrics.worker.enabled": True, f"metrics.worker.{spelling}": keys})
        for spelling in ("podMonitor", "serviceMonitor")
    ]
    assert made[0] == made[1]
    assert len(monitors(made[0])) == 1
