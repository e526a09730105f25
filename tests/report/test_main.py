import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from conf.load import load_config, to_yaml
from record.campaign import NAME, Campaign, CampaignRun, CampaignSize
from record.folder import RunFolder, write_json
from report.reading.config import differences, read_config
from tests.report.reading import rows
from tests.report.schema import SCHEMA
from tests.run_folder import (
    FolderSpec,
    good_spec,
    sample,
    write_folder,
)

ROOT = Path(__file__).resolve().parents[2]


def run_report(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m report` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "report", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _damage(folder: RunFolder, name: str, line: int, text: bytes) -> None:
    lines = (folder / name).read_bytes().splitlines(True)
    lines[line - 1] = text + b"\n"
    (folder / name).write_bytes(b"".join(lines))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("samples.jsonl", b"not json"),
        ("samples.jsonl", b'{"seq": "three"}'),
        ("telemetry.jsonl", b"\xff\xfe"),
        ("mlperf_log_detail.txt", b":::MLLOG {broken"),
    ],
)
def test_damage_gives_exit_2_with_file_and_line(
    tmp_path: Path, name: str, text: bytes
) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    _damage(folder, name, 3, text)
    finished = run_report(folder.path)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert len(finished.stderr.splitlines()) == 1
    assert f"{name}:3: " in finished.stderr


@pytest.mark.integration
def test_bad_input_gives_exit_2_and_one_line(tmp_path: Path) -> None:
    offline = write_folder(tmp_path / "a", good_spec()).path
    spec = FolderSpec(scenario="server", streaming=True, samples=[sample(0)])
    server = write_folder(tmp_path / "b", spec).path
    ratings = tmp_path / "ratings.json"
    ratings.write_text('{"X": {"flops": 1}}')
    stranger = good_spec(8)
    stranger.samples[4].replica = 7
    odd = write_folder(tmp_path / "c", stranger).path
    for arguments, expected in (
        ([tmp_path / "none"], "no such run folder"),
        ([offline, server], "one scenario"),
        ([offline, offline], "given twice"),
        ([offline, "--devices", ratings], "ratings.json"),
        ([odd], "samples.jsonl:5"),
    ):
        finished = run_report(*arguments)
        assert finished.returncode == 2, expected
        assert expected in finished.stderr
        assert len(finished.stderr.splitlines()) == 1


@pytest.mark.integration
def test_a_folder_below_a_file_is_bad_input(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec()).path
    (tmp_path / "file").write_text("")
    finished = run_report(folder, "--out", tmp_path / "file" / "x")
    assert finished.returncode == 2
    assert len(finished.stderr.splitlines()) == 1


SYNTHETIC = ["engine=synthetic", "engine.step_s=0.001"]
SERVER = ["scenario=server"]


def _configured(path: Path, *changes: str) -> Path:
    folder = write_folder(path, good_spec())
    folder.config.write_text(to_yaml(load_config([*SYNTHETIC, *changes])))
    return path


@pytest.mark.integration
@pytest.mark.parametrize(
    ("shared", "change", "named"),
    [
        ([], "engine.step_s=0.02", "engine.step_s: 0.001, 0.02"),
        ([], "dataset.path=other.json", "dataset.path: "),
        ([], "dataset.prompt_tokens=200", "dataset.prompt_tokens: None, 200"),
        ([], "mode=accuracy", "mode: performance, accuracy"),
        (SERVER, "run.ttft_ms=7", "run.ttft_ms: 60000.0, 7"),
        ([], "cluster.balancer=round_robin", "cluster.balancer: None, round_robin"),
    ],
)
def test_runs_of_different_experiments_are_not_averaged(
    tmp_path: Path, shared: list[str], change: str, named: str
) -> None:
    one = _configured(tmp_path / "one", *shared)
    other = _configured(tmp_path / "other", *shared, change)
    finished = run_report(one, other)
    assert finished.returncode == 2
    assert named in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_sizes_of_a_campaign_may_differ_in_rate_and_number(tmp_path: Path) -> None:
    one = read_config(_configured(tmp_path / "one") / "config.yaml")
    changes = (
        "cluster.replicas=2",
        "scenario.target_qps=7",
        "run.min_queries=9",
        "run.min_duration_s=5",
        "run.dir=elsewhere",
        "cluster.load_timeout_s=7",
    )
    other = read_config(_configured(tmp_path / "other", *changes) / "config.yaml")
    assert one.options != other.options
    assert differences(one, other) == []


def _campaign(root: Path, count: int) -> Path:
    names = [f"run-{number}" for number in range(count)]
    for name in names:
        write_folder(root / name, good_spec())
    root.mkdir(exist_ok=True)
    record = Campaign(
        kind="scaling",
        command=[],
        scenario="offline",
        started="2026-11-27T12:00:00Z",
        status="good",
        sizes=[CampaignSize(replicas=2, runs=count)],
        runs=[CampaignRun(run=name, replicas=2, phase="repeat") for name in names],
    )
    write_json(root / NAME, record)
    return root


@pytest.mark.integration
def test_a_campaigns_folder_stands_for_its_runs(tmp_path: Path) -> None:
    root = _campaign(tmp_path / "campaign", 3)
    assert run_report(root).returncode == 0
    report = json.loads((root / "report.json").read_text())
    jsonschema.validate(report, SCHEMA)
    assert [r["phase"] for r in rows(report["scaling"]["runs"])] == ["repeat"] * 3
    page = (root / "report.html").read_text()
    assert "<title>scaling campaign of 2026-11-27T12:00:00Z, 2 replicas" in page
    empty = run_report(_campaign(tmp_path / "empty", 0))
    assert empty.returncode == 2
    assert "the campaign made no run" in empty.stderr
