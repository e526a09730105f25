"""Every scenario and mode through LoadGen, over synthetic replicas."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from record.folder import read_json
from record.loadgen_log import read_detail
from record.structs import SettingsRecord
from report.content import KEYS
from scenarios.rules import rules
from tests.integration.command import FAST, ROOT, SYNTHETIC, run

pytestmark = pytest.mark.integration
SERVER = ["scenario=server", "scenario.target_qps=60"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["scenario=offline"],
        ["benchmark=edge"],
        SERVER,
        ["scenario=interactive", "scenario.target_qps=60"],
        ["scenario=singlestream", *FAST],
        ["scenario=offline", "mode=accuracy"],
        [*SERVER, "mode=accuracy"],
        ["scenario=singlestream", "mode=accuracy", *FAST],
        ["scenario=offline", "mode=compliance"],
        [*SERVER, "mode=compliance"],
        ["scenario=singlestream", "mode=compliance", *FAST],
    ],
    ids=" ".join,
)
def test_smoke_run_is_good_and_says_what_it_relaxed(
    tmp_path: Path, overrides: list[str]
) -> None:
    done = run(tmp_path, *SYNTHETIC, *overrides)
    assert done.is_good, done.err
    assert not done.verdict.submission_candidate
    assert any("performance_sample_count" in r for r in done.verdict.relaxed)
    assert "relaxed, so no MLPerf result" in done.out
    assert "report.html" in done.out
    assert all(s.status == "completed" for s in done.samples)
    seqs = sorted(s.seq for s in done.samples)
    assert seqs == list(range(len(seqs)))
    report = json.loads((done.folder / "report.json").read_text())
    assert tuple(report) == KEYS
    if "scenario=singlestream" not in overrides:
        assert {s.replica for s in done.samples} == {0, 1}


def test_server_is_timed_by_loadgen_as_by_us(tmp_path: Path) -> None:
    done = run(tmp_path, *SYNTHETIC, *SERVER, "run.trace=true")
    values = read_detail(done.folder.detail_log).values
    ttft = sorted((s.first_token_ns or 0) - s.issued_ns for s in done.samples)
    ours = ttft[int(len(ttft) * 0.99)]
    loadgens = values["result_first_token_99.00_percentile_latency_ns"]
    assert abs(ours - loadgens) < 5_000_000
    assert (done.folder / "mlperf_log_trace.json").stat().st_size > 0
    assert sum(s.output_tokens for s in done.samples) == 128 * 64


@pytest.mark.parametrize(
    ("overrides", "model", "scenario"),
    [
        (["scenario.target_qps=20"], "llama3_1-8b", "Offline"),
        (
            ["benchmark=edge", "dataset.count=5000", "scenario.target_qps=7"],
            "llama3_1-8b-edge",
            "Offline",
        ),
    ],
)
def test_a_full_run_keeps_the_rules_and_is_judged_by_them(
    tmp_path: Path, overrides: list[str], model: str, scenario: str
) -> None:
    """An engine faster than expected ends before 600 s: LoadGen calls it INVALID."""
    fast = ["experiment=harness", *FAST, "engine.prefill_s_per_token=0"]
    done = run(tmp_path, *fast, "run=full", *overrides)
    assert done.code == 1, done.err
    settings = read_json(done.folder.settings, SettingsRecord)
    assert settings.relaxed == []
    assert settings.effective["min_duration_ms"] == 600_000
    official = rules(model, scenario)
    assert {k: settings.effective[k] for k in official} == official
    assert [c.name for c in done.verdict.failures] == ["loadgen_validity"]
    assert all(c.outcome != "skipped" for c in done.verdict.checks)
    assert len(done.samples) % official["performance_sample_count_override"] == 0
    assert len(done.samples) >= 600 * 1.1 * float(overrides[-1].split("=")[1])


def test_a_quiet_run_prints_its_result_as_json(tmp_path: Path) -> None:
    done = run(tmp_path, "--quiet", "--json", *SYNTHETIC, *FAST)
    assert done.is_good, done.err
    assert done.err == ""
    found = json.loads(done.out)
    assert found["outcome"] == "passed"
    assert found["figures"]["samples/s"] > 0
    assert Path(found["report"]).exists()


def test_a_resolved_config_repeats_its_run(tmp_path: Path) -> None:
    first = run(tmp_path, *SYNTHETIC, *FAST)
    again = run(tmp_path, "--config", str(first.folder.config), "dataset.count=32")
    assert again.code == 0, again.err
    assert len(again.samples) == 32
    assert again.folder.path != first.folder.path


def test_report_and_accuracy_work_again_on_the_folder(tmp_path: Path) -> None:
    done = run(tmp_path, *SYNTHETIC, *FAST)
    report = done.folder / "report.json"
    before = report.read_text()
    report.unlink()
    command = [sys.executable, "-m", "report", str(done.folder.path)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert report.read_text() == before


def test_a_stray_audit_file_changes_nothing(tmp_path: Path) -> None:
    stray = ROOT / "audit.config"
    stray.write_text("*.*.mode = 2\n*.*.accuracy_log_sampling_target = 100\n")
    try:
        done = run(tmp_path, *SYNTHETIC, *FAST, "mode=accuracy")
    finally:
        stray.unlink()
    assert done.is_good, done.err


def test_the_coordinator_loads_neither_torch_nor_vllm(tmp_path: Path) -> None:
    code = (
        "import sys; from sut.main import main;"
        f"code = main(['run.dir={tmp_path}', 'dataset.count=8', *{SYNTHETIC[:1]!r}]);"
        "heavy = {'torch', 'vllm', 'transformers'} & set(sys.modules);"
        "print(code, sorted(heavy), flush=True); import os; os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 []"
