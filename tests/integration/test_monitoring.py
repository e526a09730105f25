"""A real Prometheus scrapes a real run; every query of the dashboard has an answer."""

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.command import FAST, ROOT, SYNTHETIC, Command
from tests.integration.dashboard_picture import draw_dashboard, filled
from tests.integration.test_metrics import free_port

FOLDER = ROOT / "deploy" / "monitoring"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Prometheus"),
]
_NEEDS_GPU = ("device_utilization", "device_power", "device_temp", "device_sm_clock")
_ABSENT = (*_NEEDS_GPU, "kv_cache_usage", "device_throttle_reasons", "device_last_xid")
"""What synthetic engines and hosts without a GPU do not report."""
_EMPTY = ("GPU", "SM clock", "Throttle", "KV cache", "Events", "Fences")
"""Panels of these, and those of events, which a good run does not have."""


def ask(port: int, path: str, **query: str) -> Any:
    """Return the data of an answer of Prometheus's API."""
    address = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        found = json.load(answer)
    assert found["status"] == "success"
    return found["data"]


@dataclass
class Scraped:
    """A Prometheus, and a moment at which it has scraped a run for some seconds."""

    port: int
    moment: str

    def query(self, text: str) -> list[Any]:
        """Return the result of a query at that moment."""
        data = ask(self.port, "query", query=text, time=self.moment)
        return list(data["result"])

    def value(self, text: str) -> float:
        """Return the only value of a query."""
        (found,) = self.query(text)
        return float(found["value"][1])


def _answered(port: int) -> str:
    """Return a moment just after a scrape: on a busy machine one may time out."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        moment = f"{time.time():.3f}"
        query = "mlperf_sut_requests_running"
        if ask(port, "query", query=query, time=moment)["result"]:
            return moment
        time.sleep(0.05)
    raise AssertionError("Prometheus has no sample of the run")


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Scraped"]:
    """Yield a Prometheus that has scraped a run for some seconds."""
    folder = tmp_path_factory.mktemp("monitoring")
    target, own = free_port(), free_port()
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [
        f"127.0.0.1:{target}"
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = (FOLDER / "rules.yml").read_text().replace("interval: 5s", "interval: 1s")
    (folder / "rules.yml").write_text(rules)
    command = Command(
        folder / "runs",
        *SYNTHETIC,
        *FAST,
        *("scenario=server", "scenario.target_qps=60", "run.min_queries=800"),
        f"run.metrics_port={target}",
    )
    prometheus = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{own}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        command.wait_for_samples(500)
        yield Scraped(own, _answered(own))
        assert command.finish().is_good
    finally:
        prometheus.kill()
        prometheus.wait()


def test_every_query_has_an_answer(scraped: Scraped) -> None:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    expressions = [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ]
    expressions += [
        rule["expr"]
        for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    ]
    assert len(expressions) > 30
    for expression in expressions:
        text = filled(expression)
        found = scraped.query(text)
        if not any(name in text for name in _ABSENT):
            assert found, text


def test_every_panel_can_be_drawn(scraped: Scraped, tmp_path: Path) -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    end = float(scraped.moment)

    def ask_range(query: str) -> list[Any]:
        span = {"start": f"{end - 30:.3f}", "end": scraped.moment, "step": "1s"}
        return list(ask(scraped.port, "query_range", query=query, **span)["result"])

    folder = Path(os.environ.get("MLPERF_SUT_SCREENSHOTS", tmp_path))
    empty = draw_dashboard(panels, ask_range, folder / "dashboard.png")
    assert (folder / "dashboard.png").stat().st_size > 20_000
    assert not [t for t in empty if not t.startswith(_EMPTY)], empty


def test_values_are_those_of_the_run(scraped: Scraped) -> None:
    assert 300 <= scraped.value("sum(mlperf_sut_requests_completed_total)") <= 800
    assert scraped.value('sum(mlperf_sut_replica_state{state="ready"})') == 2
    rate = scraped.value("sum(rate(mlperf_sut_requests_completed_total[8s]))")
    assert rate == pytest.approx(60, rel=0.5)
    recorded = scraped.value("mlperf_sut:requests_completed:rate1m")
    assert 0 < recorded < 120


def test_rules_are_evaluated_and_none_fires(scraped: Scraped) -> None:
    for _ in range(50):
        groups = ask(scraped.port, "rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        if rules and all(rule["health"] == "ok" for rule in rules):
            break
        time.sleep(0.2)
    assert {rule["health"] for rule in rules} == {"ok"}, rules
    assert len(rules) >= 10
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    assert firing == []
    names = {rule["name"] for rule in rules}
    assert {"MlperfSutReplicaLost", "MlperfSutNoProgress"} <= names
