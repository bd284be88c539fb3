"""The alert rules: each fires when it should and only then (promtool), and a real Prometheus takes a real daemon."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quantdesk_oracle.ops.metric_table import METRICS, PREFIX
from tests.e2e.conftest import Program
from tests.e2e.test_demo import until_rows
from tests.postgres import free_port
from tests.prometheus import Prometheus, running_prometheus

WHO = 'job="quantdesk-oracle",instance="a:9464"'
AT = "20m"


class Case(NamedTuple):
    """Series (name and labels → values, one each 15 s), and whether the alert fires at 20 minutes."""

    alert: str
    fires: bool
    series: dict[str, str]


def cases() -> Iterator[Case]:
    """The table in alert_cases.json. There, a series goes without the project's prefix, and WHO is one daemon."""
    table = json.loads((Path(__file__).parent / "alert_cases.json").read_text())
    for alert, kinds in table.items():
        for kind in ("fires", "silent"):
            for series in kinds[kind]:
                yield Case(
                    alert, kind == "fires", {n.replace("WHO", WHO): values for n, values in series.items()}
                )


CASES = list(cases())
ALERTS = (
    "Down",
    "NotReady",
    "FeedStale",
    "FeedDead",
    "NoRowsWritten",
    "WriteErrors",
    "QueueSaturated",
    "SpoolGrowing",
    "DiskFull",
    "AllEndpointsDown",
    "SubscriptionDown",
    "HermesDown",
    "ConfidenceWide",
    "SourceDivergence",
    "MarkFarFromIndex",
    "FundingLate",
    "FundingSkipped",
    "FundingAtCap",
    "MarketHalted",
    "GapOpen",
    "DecodeMismatch",
    "LoopStalled",
    "ClockSkew",
)


@pytest.fixture(scope="module")
def promtool() -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return program


def series_name(name: str) -> str:
    """``up`` is Prometheus' own; every other series is ours."""
    return name if name.startswith(("up{", "somebody")) else PREFIX + name


def promtool_test(case: Case) -> dict[str, Any]:
    """``case`` as promtool wants it: at that time the alert is firing, or there is nothing of the kind."""
    expression = f'clamp_max(count(ALERTS{{alertname="{case.alert}",alertstate="firing"}}), 1)'
    samples = [{"labels": "{}", "value": 1}] if case.fires else []
    return {
        "interval": "15s",
        "input_series": [{"series": series_name(n), "values": v} for n, v in case.series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": AT, "exp_samples": samples}],
    }


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_when_it_should_and_only_then(
    promtool: str, root: Path, tmp_path: Path, alert: str
) -> None:
    test = {
        "rule_files": [str(root / "config/prometheus/alerts.yml")],
        "evaluation_interval": "15s",
        "tests": [promtool_test(case) for case in CASES if case.alert == alert],
    }
    (tmp_path / "test.json").write_text(json.dumps(test))
    done = subprocess.run(
        [promtool, "test", "rules", tmp_path / "test.json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    for alert in ALERTS:
        assert {case.fires for case in CASES if case.alert == alert} == {True, False}, alert


def test_every_alert_has_a_page_with_meaning_first_look_causes_and_cure(root: Path) -> None:
    assert {file.stem for file in (root / "docs/runbooks").glob("*.md")} - {"index", "faults"} == set(ALERTS)
    for alert in ALERTS:
        page = (root / f"docs/runbooks/{alert}.md").read_text()
        for heading in ("## Meaning", "## First look", "## Likely causes", "## Cure"):
            assert heading in page, f"{alert} has no {heading}"


@pytest.fixture
def prometheus(root: Path, tmp_path: Path) -> Iterator[Prometheus]:
    with running_prometheus(root, tmp_path) as server:
        yield server


async def test_a_real_prometheus_scrapes_a_real_daemon(
    prometheus: Prometheus, program: Program, state_dir: Path, root: Path
) -> None:
    server, port = prometheus, free_port()
    server.watch(port)
    process = program("run", "--demo", "--json", "--state-dir", state_dir, QUANTDESK_HTTP_PORT=str(port))
    await until_rows(state_dir, 12)
    server.until("quantdesk_oracle_ready == 1")
    server.until('quantdesk_oracle_market_state{state="fresh"} == 1')
    server.until("quantdesk_oracle_feed_price > 0")
    server.until('rate(quantdesk_oracle_db_rows_written_total{table="oracle_prices"}[10s]) > 0')

    rules = server.get("rules")["groups"][0]["rules"]
    assert tuple(rule["name"] for rule in rules) == ALERTS
    for rule in rules:
        assert rule["health"] == "ok", rule
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description", "runbook_url"} <= set(rule["annotations"])
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['name']}.md"
        assert rule["state"] != "firing", rule
        assert_every_metric_exists(rule["query"])
    assert_the_dashboard_shows_something(server, root)
    process.kill()
    process.wait()
    server.until('up{job="quantdesk-oracle"} == 0')
    server.until('ALERTS{alertname="Down",alertstate="pending"}')


def assert_every_metric_exists(query: str) -> None:
    """Every metric of ours in ``query`` is one that the daemon has."""
    known = {metric.name for metric in METRICS}
    known |= {
        f"{m.name}_{part}" for m in METRICS if m.type == "histogram" for part in ("bucket", "count", "sum")
    }
    for name in re.findall(rf"\b{PREFIX}\w+", query):
        assert name in known, f"{name} is no metric"


def assert_the_dashboard_shows_something(server: Prometheus, root: Path) -> None:
    """Every query of every panel comes to at least one series of the running daemon."""
    dashboard = json.loads((root / "config/grafana/dashboards/quantdesk-oracle.json").read_text())
    targets = [(p["title"], t["expr"]) for p in dashboard["panels"] for t in p.get("targets", ())]
    assert len(targets) >= 15
    for title, expression in targets:
        assert_every_metric_exists(expression)
        asked = (
            expression.replace("$__rate_interval", "10s").replace("$instance", ".*").replace("$market", ".*")
        )
        assert server.until(asked), title
