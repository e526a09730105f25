from pathlib import Path

import pytest

from accuracy.__main__ import main
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
    for path, told in (
        (tmp_path, "no run folder, it has no settings.json"),
        (tmp_path / "nope", "nope: no such run folder"),
    ):
        assert main([str(path)]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
