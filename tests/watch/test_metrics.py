import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from base.files import ROOT
from tests.watch.live_folder import live_folder
from watch.live_run import LiveRun, read_settings
from watch.metrics import PREFIX, RunCollector


def _registry(run: LiveRun) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunCollector(run, read_settings(run.folder)))
    return registry


@pytest.fixture
def run(tmp_path: Path) -> LiveRun:
    run = LiveRun(live_folder(tmp_path / "run"))
    run.refresh()
    return run


def _families(run: LiveRun) -> dict[str, Metric]:
    text = openmetrics(_registry(run)).decode()  # type: ignore[no-untyped-call]
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return {family.name: family for family in families}


def _value(families: dict[str, Metric], name: str, **labels: str) -> float:
    (value,) = [
        float(sample.value)
        for family in families.values()
        for sample in family.samples
        if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
    ]
    return value


def test_the_values_are_those_of_the_folder(run: LiveRun) -> None:
    found = _families(run)
    own = {"node": "n1", "replica": "0"}
    assert _value(found, "requests_issued_total") == 50
    assert _value(found, "requests_in_flight") == 10
    assert _value(found, "requests_undispatched") == 4
    assert _value(found, "requests_completed_total", **own) == 3
    assert _value(found, "generation_tokens_total", **own) == 3 * 128
    assert _value(found, "requests_running", **own) == 6
    assert _value(found, "kv_cache_usage_ratio", **own) == 0.25
    assert _value(found, "replica_state", replica="1", state="lost") == 1
    assert _value(found, "replica_state", replica="1", state="ready") == 0
    assert _value(found, "events_total", kind="fence", replica="1") == 1
    assert _value(found, "events_total", kind="retry") == 0
    assert _value(found, "device_utilization_ratio", **own) == pytest.approx(0.7)
    assert _value(found, "device_last_xid", **own) == 79, "it is not in every line"
    assert _value(found, "process_cpu_ratio", replica="") == 0.5
    assert _value(found, "latency_limit_seconds", latency="ttft") == 2.0
    assert _value(found, "run_info", scenario="server") == 1


def test_the_limit_is_a_bound_and_belongs_to_its_bucket(run: LiveRun) -> None:
    found = _families(run)
    bucket = "time_to_first_token_seconds_bucket"
    assert _value(found, bucket, le="2.0") == 2, "0.5 s, and exactly 2 s"
    assert _value(found, bucket, le="1.8") == 1
    assert _value(found, bucket, le="+Inf") == 3
    assert _value(found, "time_to_first_token_seconds_sum") == pytest.approx(5.5)
    # 1.27 s for 127 tokens after the first: 10 ms each.
    assert _value(found, "time_per_output_token_seconds_sum") == pytest.approx(0.03)
    assert _value(found, "request_latency_seconds_count") == 3


def test_a_second_look_adds_only_what_is_new(run: LiveRun) -> None:
    run.refresh()
    samples = run.folder.samples
    line = samples.read_bytes().splitlines(keepends=True)[0]
    with samples.open("ab") as file:
        file.write(line.replace(b'"replica":0', b'"replica":1') + line[:40])
    run.refresh()
    with samples.open("ab") as file:
        file.write(line[40:] + b"not a line\n" + line)
    run.refresh()
    found = _families(run)
    assert _value(found, "requests_completed_total", replica="1") == 1
    assert _value(found, "requests_completed_total", replica="0") == 5
    bucket = "time_to_first_token_seconds_bucket"
    assert _value(found, bucket, replica="1", le="+Inf") == 1


def test_names_follow_the_rules_of_prometheus(run: LiveRun) -> None:
    for name, family in _families(run).items():
        assert name.startswith(PREFIX)
        assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z]", name)
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram", "info"), name
        if family.type == "histogram":
            assert name.endswith("_seconds")
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool")
    text = generate_latest(_registry(run))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


def test_a_folder_that_begins_has_metrics_too(tmp_path: Path) -> None:
    folder = live_folder(tmp_path / "run")
    for path in (folder.samples, folder.status, folder.settings, folder.telemetry):
        path.unlink()
    run = LiveRun(folder)
    run.refresh()
    assert _value(_families(run), "build_info")


def test_dashboard_and_rules_use_names_that_exist(run: LiveRun) -> None:
    known = {
        sample.name for family in _families(run).values() for sample in family.samples
    }
    folder = ROOT / "deploy" / "monitoring"
    dashboard = json.loads((folder / "dashboard.json").read_text())
    texts = [
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ]
    rules = yaml.safe_load((folder / "rules.yml").read_text())
    texts += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    used = {name for text in texts for name in re.findall(r"mlperf_sut_\w+", text)}
    assert len(used) > 20
    assert used <= known
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
