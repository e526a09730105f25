import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from base.errors import UserError
from campaigns.scaling import __main__ as scaling
from campaigns.scaling.options import parse
from campaigns.series import RunSeries, interleaved_order
from record.campaign import Campaign, read_campaign
from record.folder import read_lines
from record.structs import HostLine, SampleRecord, TelemetryLine
from tests.report.reading import codes, row, rows

ROOT = Path(__file__).resolve().parents[3]
HARNESS = ["engine=synthetic", "dataset=synthetic", "dataset.count=64"]


def test_the_order_differs_from_round_to_round() -> None:
    made = list(interleaved_order([1, 2, 4, 8], 4, seed=0))
    rounds = [[size for place, size in made if place == r] for r in range(1, 5)]
    assert all(sorted(sizes) == [1, 2, 4, 8] for sizes in rounds)
    assert len({tuple(sizes) for sizes in rounds}) > 1
    assert made == list(interleaved_order([1, 2, 4, 8], 4, seed=0))


def test_options() -> None:
    options = parse(["replicas=4,2", "runs=5", "scenario=offline", "run.dir=x"])
    assert options.sizes == [1, 2, 4]
    assert options.runs == 5
    assert options.overrides == ["scenario=offline"]
    assert options.root == Path("x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "replicas= is missing"),
        (["replicas="], "write sizes like"),
        (["replicas=1,two"], "write sizes like"),
        (["replicas=0,1"], "write sizes like"),
        (["replicas=1,2", "runs=2"], "3 runs of a size"),
        (["replicas=1,2", "runs=many"], "runs=many"),
        (["replicas=1,2", "tolerance=5"], "tolerance=5"),
        (["replicas=1,2", "cluster.replicas=2"], "several sizes"),
        (["replicas=1,2", "samples=0"], "samples=0"),
        (
            ["replicas=1,2", "samples=5", "run.min_queries=9"],
            "set the same; give one of them",
        ),
        (["replicas=1,2", "longest_s=0"], "longest_s=0: write a number above 0"),
        (["replicas=1", "runs=3", "runs=4"], "runs= is given twice"),
        (["replicas=1", "engine=vllm", "+engine=vllm"], "engine= is given twice"),
        (["replica=1,2"], "unknown option replica; did you mean replicas="),
        (["replicas=1,2", "tolerence=0.1"], "did you mean tolerance="),
        (["replicas=1,2", "--config=x.yaml"], "unknown option"),
    ],
)
def test_mistakes_are_reported(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(arguments)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Campaign]:
    """Campaigns that would have been made."""
    found: list[Campaign] = []

    def make(_options: object, _config: object, series: RunSeries) -> int:
        found.append(series.campaign)
        return 0

    monkeypatch.setattr(scaling, "run_campaign", make)
    return found


def test_the_recorded_command_has_no_secret(
    tmp_path: Path, made: list[Campaign]
) -> None:
    secret = "engine.env.HF_TOKEN=hf_abc"
    assert scaling.main(["replicas=1,2", f"run.dir={tmp_path}", secret]) == 0
    assert any("HF_TOKEN" in part for part in made[0].command)
    assert "hf_abc" not in (tmp_path / "campaign.json").read_text()


def test_a_size_that_cannot_be_is_refused_before_any_run(
    tmp_path: Path, made: list[Campaign], capsys: pytest.CaptureFixture[str]
) -> None:
    servers = ["engine=endpoint", "engine.urls=[http://a:1,http://b:1]"]
    folder = tmp_path / "campaign"
    assert scaling.main(["replicas=1,3", f"run.dir={folder}", *servers]) == 2
    assert "engine.urls has 2 servers" in capsys.readouterr().err
    assert not made
    assert not folder.exists()


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
    assert "scaling.heterogeneous" not in codes(report)
    assert "efficiency" in finished.stdout
    assert " left (repeat)" in finished.stderr
    assert "replicas times the measured" in (tmp_path / "report.html").read_text()
    for run in runs:
        text = (tmp_path / run["run"] / "samples.jsonl").read_bytes()
        assert text.count(b"\n") == 160 * run["replicas"]
    samples: Iterator[Any] = read_lines(
        tmp_path / runs[0]["run"] / "samples.jsonl", SampleRecord
    )
    for sample in samples:
        inside = sample.queue_ns + sample.prefill_ns + sample.decode_ns
        assert (
            inside <= sample.residence_ns <= sample.completed_ns - sample.dispatched_ns
        )
    telemetry: Iterator[Any] = read_lines(
        tmp_path / runs[0]["run"] / "telemetry.jsonl", TelemetryLine
    )
    hosts = [line for line in telemetry if isinstance(line, HostLine)]
    assert {line.replica is None for line in hosts} == {True, False}
    # The campaign's folder gives the same report by hand.
    again = subprocess.run(
        [sys.executable, "-m", "report", str(tmp_path), "--out", str(tmp_path / "b")],
        cwd=ROOT,
        check=True,
    )
    assert again.returncode == 0
    assert json.loads((tmp_path / "b/report.json").read_text()) == report


@pytest.mark.acceptance  # a dozen runs: three minutes
def test_server_campaign_finds_the_sustained_rate(tmp_path: Path) -> None:
    # 8 sequences of 16 steps of 2.6 ms: 192 samples/s.
    finished = _run(
        "replicas=1",
        "scenario=server",
        "scenario.target_qps=480",
        "tolerance=0.4",
        f"run.dir={tmp_path}",
        *HARNESS,
        "engine.step_s=0.001",
        "engine.decode_s_per_sequence=0.0002",
        "engine.max_num_seqs=8",
        "engine.output_tokens=16",
        "run.ttft_ms=400",
        "run.tpot_ms=100",
    )
    assert finished.returncode == 0, finished.stderr
    assert "sustained rate" in finished.stdout
    campaign = read_campaign(tmp_path)
    assert campaign.status == "good"
    (size,) = campaign.sizes
    assert size.sustained_qps is not None
    assert 50 < size.sustained_qps < 200
    assert {run.phase for run in campaign.runs} == {"search", "confirm"}
    report = json.loads((tmp_path / "report.json").read_text())
    found = row(report["scaling"]["sizes"], metric="queries/s", replicas=1)
    assert found["runs"] >= 3
    assert found["actual"] == pytest.approx(size.sustained_qps, rel=0.01)
    rates = row(report["scaling"]["rates"], replicas=1)
    assert rates["sustained rate"] == pytest.approx(size.sustained_qps, rel=1e-3)
    assert report["validity"]["outcome"]["value"] == "passed"
    assert "gate.loadgen_validity" not in codes(report)
    page = (tmp_path / "report.html").read_text()
    assert "<title>scaling campaign of" in page
    assert "Sustained rate, 1 replica" in page


@pytest.mark.integration
def test_a_mistake_in_an_override_gives_exit_2(tmp_path: Path) -> None:
    finished = _run("replicas=1,2", f"run.dir={tmp_path}/c", "scenario.typo=1")
    assert finished.returncode == 2
    assert len(finished.stderr.splitlines()) == 1
    assert not (tmp_path / "c").exists()
