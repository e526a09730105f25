import json
from pathlib import Path

import pytest

from report.findings.answers import answer_findings
from report.reading.folder import read_run
from tests.report.findings.example_answers import accuracy_run, answers_of
from tests.report.reading import codes, report_of, rows
from tests.run_folder import good_spec, write_folder


def _both(root: Path, **options: float) -> list[Path]:
    runs = [accuracy_run(root / f"r{i}", 4, i, **options) for i in range(2)]  # type: ignore[arg-type]
    return [run.path for run in runs if run.path is not None]


@pytest.mark.integration
def test_a_replica_that_answers_wrongly_is_named(tmp_path: Path) -> None:
    runs = _both(tmp_path, wrong=0.2, each=150)
    report = report_of(*runs)
    finding = next(f for f in report["findings"] if f["code"] == "answers")
    assert finding["where"] == ["replica 3"]
    assert finding["severity"] == "critical"
    assert "Replica 3 on n1 answers differently" in finding["title"]
    assert "compared token by token" in finding["evidence"]
    advice = next(r for r in report["recommendations"] if r["finding"] == "answers")
    # 20% of 150 answers in each of two runs.
    assert advice["estimate"]["value"] == pytest.approx(60, abs=20)
    table = rows(report["tokens"]["answers"])
    assert [row["replica"] for row in table] == [0, 1, 2, 3]
    assert table[3]["identical"] < min(row["identical"] for row in table[:3])


def test_equal_answers_say_nothing(tmp_path: Path) -> None:
    report = report_of(*_both(tmp_path))
    assert "answers" not in codes(report)
    assert [row["identical"] for row in rows(report["tokens"]["answers"])] == [100] * 4


def test_a_run_without_logged_answers_has_no_table_and_no_finding(
    tmp_path: Path,
) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec()))
    assert rows(report["tokens"]["answers"]) == []
    assert "answers" not in codes(report)


def test_two_replicas_that_differ_are_both_named(tmp_path: Path) -> None:
    runs = [accuracy_run(tmp_path / f"r{i}", 2, i, 0.5, fixed=True) for i in range(2)]
    found = answers_of(runs)
    assert len(found) == 1
    assert "which of them is wrong" in found[0].finding.evidence
    assert "replica 0" in found[0].finding.title.lower()
    assert "replica 1" in found[0].finding.title.lower()


def test_one_of_two_that_is_wrong_at_random_is_named_alone(tmp_path: Path) -> None:
    runs = [accuracy_run(tmp_path / f"r{i}", 2, i, 0.5) for i in range(2)]
    found = answers_of(runs)
    assert [one.finding.where for one in found] == [["replica 1"]]
    assert "which of them" not in found[0].finding.evidence


def test_scores_of_accuracy_json_are_shown_and_judged(tmp_path: Path) -> None:
    run = accuracy_run(tmp_path / "run", 2, 0)
    assert run.path is not None
    odd = {"node": "n1", "replica": 1, "measure": "rougeL", "own": 20.0, "peer": ""}
    odd |= {"others": 28.0, "unit": "%", "answers": 60, "p": 1e-5}
    scores = [
        {"node": "n1", "replica": i, "answers": 60, "scores": {"rougeL": 28.0 - 8 * i}}
        for i in range(2)
    ]
    written = {"rougeL": {"value": 24.0}, "replicas": scores, "odd_replicas": [odd]}
    (run.path / "accuracy.json").write_text(json.dumps(written))
    again = read_run(run.path)
    (found,) = answer_findings([again])
    assert "rougeL of its 60 answers in run: 20%, of the others 28%" in (
        found.finding.evidence
    )
    assert found.finding.severity == "critical"
    assert rows(report_of(run.path)["tokens"]["answers"])[1]["rougeL"] == 20.0


def test_a_setup_that_differs_is_given_as_the_cause(tmp_path: Path) -> None:
    runs = _both(tmp_path, wrong=0.3)
    for path in runs:
        records = json.loads((path / "replicas.json").read_text())
        records[3]["versions"]["driver"] = "550.1"
        for record in records[:3]:
            record["versions"]["driver"] = "580.2"
        (path / "replicas.json").write_text(json.dumps(records))
    (found,) = answers_of([read_run(path) for path in runs])
    assert "Its setup differs from that of the others: driver 550.1" in (
        found.finding.cause
    )
