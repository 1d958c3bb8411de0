"""The metrics: what they are called, how many series there can be, and the page about them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from promptmill.observability import metrics
from promptmill.observability.metrics import declared, metrics_page

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations"
OF_PROMETHEUS = {"le", "job", "instance", "quantile", "alertname"}
LABELS = {each.name: set(each.labels) for each in declared()}


def test_the_page_lists_every_metric_as_the_code_has_it() -> None:
    page = (OPERATIONS / "metrics.md").read_text()

    assert metrics_page() in page


def test_plain_numbers_are_told_as_the_library_tells_its_own() -> None:
    told: list[str] = []
    for histogram, counter in (
        (Histogram, Counter),
        (metrics.PlainHistogram, metrics.PlainCounter),
    ):
        registry = CollectorRegistry()
        seconds = histogram("seconds", "Some", ["host"], registry=registry, buckets=(0.1, 1, 10))
        calls = counter("calls", "Some", ["host"], registry=registry)
        for value in (0.05, 0.1, 0.5, 1, 10, 99):
            seconds.labels("a").observe(value)
            calls.labels("a").inc(value)
        calls.labels("b").inc()
        lines = generate_latest(registry).decode().splitlines()
        told.append("\n".join(line for line in lines if "_created" not in line))

    assert told[0] == told[1]
    assert 'seconds_bucket{host="a",le="0.1"} 2.0' in told[0]


def test_models_and_pairs_of_host_and_model_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_models", set())
    monkeypatch.setattr(metrics, "_pairs", set())

    pairs = {
        metrics.pair_labels(f"http://host-{host}", f"model-{model}")
        for host in range(10)
        for model in range(100)
    }

    assert len({model for _, model in pairs}) == 51
    assert len(pairs) <= 210


def expressions() -> list[str]:
    """Every expression of the dashboard and of the alerts."""
    dashboard = json.loads((OPERATIONS / "grafana.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    found += [
        variable["query"]["query"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    alerts = yaml.safe_load((OPERATIONS / "alerts.yml").read_text())
    return found + [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]


def test_the_dashboard_and_the_alerts_name_only_metrics_that_exist_with_their_labels() -> None:
    found = expressions()
    assert len(found) > 30
    for expression in found:
        names = re.findall(r"promptmill_\w+", expression)
        known = [re.sub(r"_(bucket|sum|count)$", "", name) for name in names]
        known = [name if name in LABELS else full for name, full in zip(known, names, strict=True)]
        assert set(known) <= set(LABELS), expression
        labels = OF_PROMETHEUS | {label for name in known for label in LABELS[name]}
        used = re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expression)
        for grouped in re.findall(r"(?:by|on|without)\s*\(([^)]*)\)", expression):
            used += [label.strip() for label in grouped.split(",") if label.strip()]
        assert set(used) <= labels, expression


def test_every_alert_says_what_it_means_and_waits() -> None:
    alerts = yaml.safe_load((OPERATIONS / "alerts.yml").read_text())
    for group in alerts["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"].endswith(".")
            assert rule["labels"]["severity"] in {"warning", "critical"}
