"""The alerts and the dashboard of deploy/ ask for metrics, labels and values that a server has."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY, generate_latest

from schema.observability import metrics
from services.jobs.work_counts import LANES, STATUSES

DEPLOY = Path(__file__).parents[1] / "deploy"
LABELS = {
    "outcome": {"ok", "errors"},
    "status": set(STATUSES),
    "lane": set(LANES),
    "from": {"read", "remembered"},
    "job": {"commonweal"},
    "le": set(),
    "instance": set(),
}
"""The labels of our metrics and those that Prometheus adds, with the values that an expression may name."""


def rules() -> list[dict[str, Any]]:
    """Return the alerts."""
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard."""
    found: list[dict[str, Any]] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())["panels"]
    return found


EXPRESSIONS = [rule["expr"] for rule in rules()]
EXPRESSIONS += [target["expr"] for panel in panels() for target in panel["targets"]]


def known_names() -> set[str]:
    """Return the names of all series that /metrics has."""
    text = generate_latest(REGISTRY).decode()
    return set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE)) | set(
        re.findall(r"^(commonweal_\w+)", text, re.MULTILINE)
    )


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_only_metrics_and_labels_that_exist_are_asked_for(expression: str) -> None:
    metrics.record_operation(0.1, has_errors=False)
    metrics.record_document(is_cached=True)
    asked = set(re.findall(r"\b(commonweal_\w+)", expression))
    assert asked <= known_names(), asked - known_names()
    assert asked or "up{" in expression
    for name, value in re.findall(r'(\w+)="([^"]*)"', expression):
        assert value in LABELS[name]
    for names in re.findall(r"by \(([^)]*)\)", expression):
        assert set(re.split(r",\s*", names)) <= LABELS.keys()
    assert expression.count("(") == expression.count(")")


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    families = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in known_names()}
    missing = {name for name in families if name.startswith("commonweal_") and name not in shown}
    assert missing == set()


def test_every_alert_is_explained() -> None:
    page = (DEPLOY.parent / "docs" / "operations.md").read_text()
    assert [rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in page] == []
    assert all({"expr", "for", "labels", "annotations"} <= rule.keys() for rule in rules())
    assert len({panel["id"] for panel in panels()}) == len(panels())
