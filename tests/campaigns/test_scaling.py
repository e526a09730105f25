import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from base.errors import UserError
from campaigns.rates import highest_rate
from campaigns.scaling import parse
from campaigns.series import mixed
from record.lines import read_lines
from record.structs import HostLine, SampleRecord, TelemetryLine
from tests.report.reading import codes, row, rows

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ["engine=synthetic", "dataset=synthetic", "dataset.count=64"]


def test_the_order_differs_from_round_to_round() -> None:
    made = list(mixed([1, 2, 4, 8], 4, seed=0))
    rounds = [[size for place, size in made if place == r] for r in range(1, 5)]
    assert all(sorted(sizes) == [1, 2, 4, 8] for sizes in rounds)
    assert len({tuple(sizes) for sizes in rounds}) > 1
    assert made == list(mixed([1, 2, 4, 8], 4, seed=0))


@pytest.mark.parametrize("limit", [0.3, 1.0, 7.7, 100.0])
def test_the_highest_rate_is_found(limit: float) -> None:
    probes: Counter[float] = Counter()

    def probe(rate: float) -> bool:
        probes[rate] += 1
        return rate <= limit

    found = highest_rate(probe, 1.0, 0.05)
    assert found is not None
    assert limit / 1.05 <= found <= limit
    assert max(probes.values()) == 1


@pytest.mark.parametrize(("limit", "probes"), [(61.9, 2), (58.1, 2), (66.0, 4)])
def test_a_good_guess_needs_few_probes(limit: float, probes: int) -> None:
    tried: list[float] = []

    def probe(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    found = highest_rate(probe, 60.0, 0.05)
    assert found is not None
    assert limit / 1.051 <= found <= limit
    assert len(tried) == probes


@pytest.mark.parametrize("limit", [0.002, 4000.0])
def test_a_guess_may_be_far_off(limit: float) -> None:
    found = highest_rate(lambda rate: rate <= limit, 1.0, 0.05)
    assert found is not None
    assert limit / 1.051 <= found <= limit


def test_no_rate_keeps_the_limits() -> None:
    assert highest_rate(lambda rate: False, 1.0, 0.05) is None


def test_options() -> None:
    options = parse(["replicas=4,2", "runs=5", "scenario=offline", "run.dir=x"])
    assert options.sizes == [1, 2, 4]
    assert options.runs == 5
    assert options.overrides == ["scenario=offline"]
    assert options.root == Path("x")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "replicas= is missing"),
        (["replicas="], "write sizes like"),
        (["replicas=1,two"], "write sizes like"),
        (["replicas=0,1"], "write sizes like"),
        (["replicas=1,2", "runs=2"], "fewer than 3"),
        (["replicas=1,2", "runs=many"], "runs=many"),
        (["replicas=1,2", "tolerance=5"], "tolerance=5"),
        (["replicas=1,2", "cluster.replicas=2"], "several sizes"),
        (["replicas=1,2", "samples=0"], "samples=0"),
        (["replicas=1,2", "samples=5", "run.min_queries=9"], "leave one out"),
    ],
)
def test_mistakes_are_told(arguments: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse(arguments)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "campaigns.scaling", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.mark.integration
def test_offline_campaign(tmp_path: Path) -> None:
    finished = _run(
        "replicas=1,2",
        "scenario=offline",
        f"run.dir={tmp_path}",
        *HARNESS,
        "samples=160",
        "engine.step_s=0.002",
        "engine.max_num_seqs=16",
    )
    assert finished.returncode == 0, finished.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    found = row(report["scaling"]["sizes"], metric="samples/s", replicas=2)
    assert found["runs"] == 3
    assert 70 < found["efficiency"] < 115
    assert found["from"] < found["efficiency"] < found["to"]
    runs = rows(report["scaling"]["runs"])
    assert sorted(r["replicas"] for r in runs) == [1, 1, 1, 2, 2, 2]
    assert [r["replicas"] for r in runs] != [1, 1, 1, 2, 2, 2]
    assert "scaling.unlike" not in codes(report)
    assert "replicas times the measured" in (tmp_path / "report.html").read_text()
    for run in runs:
        text = (tmp_path / run["run"] / "samples.jsonl").read_bytes()
        assert text.count(b"\n") == 160 * run["replicas"]
    samples: Iterator[Any] = read_lines(
        tmp_path / runs[0]["run"] / "samples.jsonl", SampleRecord
    )
    for sample in samples:
        inside = sample.queue_ns + sample.prefill_ns + sample.decode_ns
        assert inside <= sample.held_ns <= sample.completed_ns - sample.dispatched_ns
    telemetry: Iterator[Any] = read_lines(
        tmp_path / runs[0]["run"] / "telemetry.jsonl", TelemetryLine
    )
    hosts = [line for line in telemetry if isinstance(line, HostLine)]
    assert {line.replica is None for line in hosts} == {True, False}
    # The same folders give the same report by hand.
    folders = [str(tmp_path / r["run"]) for r in runs]
    again = subprocess.run(
        [sys.executable, "-m", "report", *folders, "--out", str(tmp_path / "again")],
        cwd=ROOT,
        check=True,
    )
    assert again.returncode == 0
    assert json.loads((tmp_path / "again/report.json").read_text()) == report


@pytest.mark.integration
def test_server_campaign_finds_the_highest_rate(tmp_path: Path) -> None:
    finished = _run(
        "replicas=1",
        "scenario=server",
        "scenario.target_qps=10",
        "tolerance=0.9",
        f"run.dir={tmp_path}",
        *HARNESS,
        "engine.step_s=0.001",
        "engine.decode_s_per_sequence=0.0002",
        "engine.max_num_seqs=8",
        "run.ttft_ms=150",
        "run.tpot_ms=100",
    )
    assert finished.returncode == 0, finished.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    runs = rows(report["scaling"]["runs"])
    kept = {r["rate"] for r in runs if r["kept limits"]}
    missed = {r["rate"] for r in runs if not r["kept limits"]}
    assert missed
    found = row(report["scaling"]["sizes"], metric="samples/s", replicas=1)
    assert found["runs"] >= 3
    assert found["actual"] <= max(kept - missed) * 1.2


@pytest.mark.integration
def test_a_search_in_vain_ends_at_once(tmp_path: Path) -> None:
    finished = _run(
        "replicas=1,2",
        "scenario=server",
        "scenario.target_qps=1000",
        "samples=100",
        "run.latency_percentile=0.99",
        f"run.dir={tmp_path}",
        *HARNESS,
    )
    assert finished.returncode == 1
    assert finished.stderr.count("== run") == 2
    assert "1 replica(s): the search ends: 100 queries are too few" in finished.stderr
    assert "2 replica(s): the search ends: 200 queries are too few" in finished.stderr
    assert "did not pass, whatever the rate: " in finished.stderr
    assert (tmp_path / "report.html").exists()


@pytest.mark.integration
def test_a_mistake_in_an_override_gives_exit_2(tmp_path: Path) -> None:
    finished = _run("replicas=1,2", f"run.dir={tmp_path}/c", "scenario.typo=1")
    assert finished.returncode == 2
    assert len(finished.stderr.splitlines()) == 1
    assert not (tmp_path / "c").exists()
