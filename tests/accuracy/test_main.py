from pathlib import Path

import pytest

from accuracy.__main__ import main
from accuracy.rouge import METRICS
from accuracy.score import leave_unscored
from accuracy.targets import Target
from record.folder import RunFolder, read_json, write_json
from record.structs import SettingsRecord, Verdict
from scenarios.gate import judge
from tests.accuracy.made_up import ids, scorable_run

TEXTS = ["the cat sat on the mat .", "the dog ran far ."]


def test_a_sound_run_exits_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [(i, ids(text), None) for i, text in enumerate(TEXTS)]
    folder = scorable_run(tmp_path, answers, TEXTS)
    assert main([str(folder.path)]) == 0
    out = capsys.readouterr().out
    assert " 100.0000  rouge1 [100.0000, 100.0000]" in out
    assert "target: does not apply: model or data set is not the benchmark's" in out
    assert "sentence splitter: " in out
    assert (folder / "accuracy.txt").exists()


def test_a_faulty_log_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scorable_run(tmp_path, [(0, ids("the cat"), None)], TEXTS)
    assert main([str(folder.path)]) == 1
    assert "problem: " in capsys.readouterr().out


def test_a_folder_without_a_run_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, message in (
        (tmp_path, "not a run folder: it has no settings.json"),
        (tmp_path / "nope", "nope: no such run folder"),
    ):
        assert main([str(path)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


EASY = Target(dict.fromkeys(METRICS, 100.0), sum(map(len, TEXTS)))


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark's targets are what the answers of these runs reach."""
    monkeypatch.setattr("accuracy.score.TARGETS", {"datacenter": EASY})


def _interrupted_run(path: Path) -> RunFolder:
    """Return a full run of the benchmark whose scoring was interrupted."""
    answers = [(i, ids(text), None) for i, text in enumerate(TEXTS)]
    folder = scorable_run(path, answers, TEXTS)
    settings = read_json(folder.settings, SettingsRecord)
    settings.kind, settings.is_benchmark = "full", True
    settings.rules["performance_sample_count_override"] = 2
    write_json(folder.settings, settings)
    verdict = judge(folder)
    assert verdict.submission_candidate
    leave_unscored(verdict, "not scored")
    write_json(folder.verdict, verdict)
    assert (verdict.outcome, verdict.submission_candidate) == ("failed", False)
    return folder


@pytest.mark.usefixtures("easy")
def test_a_run_whose_scoring_was_interrupted_gets_its_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _interrupted_run(tmp_path)
    for _ in range(2):
        assert main([str(folder.path)]) == 0
        assert "verdict of the run: passed" in capsys.readouterr().out
        verdict = read_json(folder.verdict, Verdict)
        assert (verdict.outcome, verdict.reason) == ("passed", "")
        assert verdict.submission_candidate
        assert verdict.checks[:-1] == judge(folder).checks
        assert verdict.checks[-1].name == "accuracy_target"


def test_a_missed_target_fails_the_run_in_place_of_the_missing_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _interrupted_run(tmp_path)
    for _ in range(2):
        assert main([str(folder.path)]) == 1
        assert "verdict of the run: failed (accuracy_target is" in (
            capsys.readouterr().out
        )
        verdict = read_json(folder.verdict, Verdict)
        assert [check.name for check in verdict.failures] == ["accuracy_target"]
        assert not verdict.submission_candidate


@pytest.mark.usefixtures("easy")
def test_what_else_failed_stays(tmp_path: Path) -> None:
    folder = _interrupted_run(tmp_path)
    verdict = read_json(folder.verdict, Verdict)
    verdict.checks[0].outcome = "failed"
    write_json(folder.verdict, verdict)
    assert main([str(folder.path)]) == 0
    verdict = read_json(folder.verdict, Verdict)
    assert verdict.outcome == "failed"
    assert verdict.reason.startswith(verdict.checks[0].name)
    assert not verdict.submission_candidate


@pytest.mark.usefixtures("easy")
def test_a_score_on_other_data_does_not_make_a_run_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _interrupted_run(tmp_path)
    settings = read_json(folder.settings, SettingsRecord)
    settings.dataset_sha256 = "0" * 64
    write_json(folder.settings, settings)
    assert main([str(folder.path)]) == 1
    assert "its SHA-256 differs" in capsys.readouterr().out
    verdict = read_json(folder.verdict, Verdict)
    assert [check.name for check in verdict.failures] == ["accuracy_scored"]
    assert "its SHA-256 differs" in verdict.failures[0].note


@pytest.mark.usefixtures("easy")
def test_an_aborted_run_stays_aborted(tmp_path: Path) -> None:
    folder = _interrupted_run(tmp_path)
    verdict = read_json(folder.verdict, Verdict)
    verdict.outcome, verdict.reason = "aborted", "interrupted by SIGINT"
    write_json(folder.verdict, verdict)
    assert main([str(folder.path)]) == 0
    verdict = read_json(folder.verdict, Verdict)
    assert (verdict.outcome, verdict.reason) == ("aborted", "interrupted by SIGINT")


@pytest.mark.usefixtures("easy")
def test_a_run_without_a_verdict_gets_none(tmp_path: Path) -> None:
    folder = _interrupted_run(tmp_path)
    folder.verdict.unlink()
    assert main([str(folder.path)]) == 0
    assert not folder.verdict.exists()


@pytest.mark.usefixtures("easy")
def test_a_verdict_of_an_earlier_version_makes_no_candidate(tmp_path: Path) -> None:
    folder = _interrupted_run(tmp_path)
    verdict = read_json(folder.verdict, Verdict)
    verdict.eligible = None
    write_json(folder.verdict, verdict)
    assert main([str(folder.path)]) == 0
    verdict = read_json(folder.verdict, Verdict)
    assert (verdict.outcome, verdict.submission_candidate) == ("passed", False)
