import json
from pathlib import Path
from typing import Any

import pytest

from record.errors import RecordError
from record.folder import RunFolder
from record.structs import EventRecord
from report.build import KEYS, write_report
from report.symmetry import spread_pct, status
from tests.run_folder import START_NS, FolderSpec, good_spec, sample, write_folder


def _report(tmp_path: Path, spec: FolderSpec) -> dict[str, dict[str, dict[str, Any]]]:
    folder = write_folder(tmp_path / "run", spec)
    write_report(folder)
    content: dict[str, dict[str, dict[str, Any]]] = json.loads(
        (folder / "report.json").read_text()
    )
    return content


def test_every_figure_has_value_unit_and_definition(tmp_path: Path) -> None:
    report = _report(tmp_path, good_spec())
    assert tuple(report) == KEYS
    for key in KEYS:
        if not isinstance(report[key], dict):
            continue
        for name, item in report[key].items():
            if "columns" in item:
                assert set(item) == {"columns", "rows"}
                columns, rows = item["columns"], item["rows"]
                assert isinstance(columns, list)
                assert isinstance(rows, list)
                assert all(len(row) == len(columns) for row in rows), name
            else:
                assert set(item) == {"value", "unit", "definition"}, name
                assert item["definition"]


def test_throughput_is_completed_work_over_wall_time(tmp_path: Path) -> None:
    scaling = _report(tmp_path, good_spec(64))["scaling"]
    wall_s = 63 * 0.05 + 0.1
    assert scaling["samples_per_s"]["value"] == pytest.approx(64 / wall_s, rel=1e-3)
    assert scaling["tokens_per_s"]["value"] == pytest.approx(
        64 * 128 / wall_s, rel=1e-3
    )
    assert scaling["efficiency"]["value"] is None


def test_symmetry_tells_each_replicas_share(tmp_path: Path) -> None:
    table = _report(tmp_path, good_spec(64))["symmetry"]["replicas"]
    names = [column["name"] for column in table["columns"]]
    rows = [dict(zip(names, row, strict=True)) for row in table["rows"]]
    assert [row["samples"] for row in rows] == [32, 32]
    assert [row["share"] for row in rows] == [50.0, 50.0]
    assert rows[0]["service p50"] == 100.0
    assert rows[0]["memory"] == 1.0


def test_a_slow_replica_shows_and_noise_does_not(tmp_path: Path) -> None:
    even = _report(tmp_path / "even", good_spec(200))["symmetry"]
    assert even["throughput_status"]["value"] in ("perfect", "good")
    uneven = good_spec(200)
    for record in uneven.samples:
        record.replica = 1 if record.seq % 4 == 0 else 0
    slow = _report(tmp_path / "slow", uneven)["symmetry"]
    assert slow["throughput_spread"]["value"] == pytest.approx(200, rel=0.05)
    assert slow["throughput_p"]["value"] < 0.01
    assert slow["throughput_status"]["value"] == "critical"


def test_too_few_answers_prove_nothing(tmp_path: Path) -> None:
    spec = good_spec(20)
    for record in spec.samples:
        record.replica = 1 if record.seq % 4 == 0 else 0
    symmetry = _report(tmp_path, spec)["symmetry"]
    assert symmetry["throughput_spread"]["value"] > 100
    assert symmetry["throughput_p"]["value"] is None
    assert symmetry["throughput_status"]["value"] == "good"


def test_status_words() -> None:
    assert [status(s, True) for s in (0.5, 5, 10, 30)] == [
        "perfect",
        "good",
        "moderate",
        "critical",
    ]
    assert [status(s, False) for s in (0.5, 10, 30)] == ["perfect", "good", "good"]
    assert spread_pct([100, 109]) == pytest.approx(9)
    assert spread_pct([5]) == 0
    assert spread_pct([5, 0]) is None


def test_a_replica_that_did_nothing_is_told(tmp_path: Path) -> None:
    spec = good_spec(20)
    for record in spec.samples:
        record.replica = 0
    report = _report(tmp_path, spec)
    assert "did nothing" in report["symmetry"]["throughput_status"]["value"]
    findings: Any = report["findings"]
    assert any("1 of 2 replicas completed nothing" in f["title"] for f in findings)


def test_lost_samples_come_before_any_speed(tmp_path: Path) -> None:
    spec = good_spec()
    spec.samples[3] = sample(3, status="lost", completed_ns=None, output_tokens=0)
    spec.events = [
        EventRecord(t_ns=START_NS, kind="fence", node="n1", replica=1, cause="killed")
    ]
    folder = write_folder(tmp_path / "run", spec)
    write_report(folder)
    findings = json.loads((folder / "report.json").read_text())["findings"]
    assert findings[0]["severity"] == "critical"
    assert findings[0]["title"] == "1 of 64 samples were lost"
    assert "seq 3" in findings[0]["evidence"]
    assert any("Replica 1 on n1 was fenced" in f["title"] for f in findings)
    html = (folder / "report.html").read_text()
    assert html.index("samples were lost") < html.index("samples per s")


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    html = write_report(folder).read_text()
    outside = html.replace("http://www.w3.org/", "")
    assert "http://" not in outside
    assert "https://" not in outside
    assert "<script" not in html
    assert html.count("<svg") == 2
    assert "samples" in (folder / "report.md").read_text()


def test_an_empty_run_still_has_a_report(tmp_path: Path) -> None:
    spec = good_spec(2)
    spec.samples = []
    assert _report(tmp_path, spec)["tokens"]["output_tokens"]["value"] == 0


def test_a_damaged_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such run folder"):
        write_report(RunFolder(tmp_path / "none"))
    folder = write_folder(tmp_path / "run", good_spec())
    whole = folder.config.read_bytes()
    for config in (b"a: 1", b"\xe9", whole[: len(whole) // 3], b"{"):
        folder.config.write_bytes(config)
        with pytest.raises(RecordError, match=r"config\.yaml"):
            write_report(folder)
    folder.config.write_bytes(whole)
    folder.replicas.write_text("[{}]")
    with pytest.raises(RecordError, match=r"replicas\.json"):
        write_report(folder)
