import json
from pathlib import Path

import pytest

from accuracy.__main__ import main
from accuracy.compare import compare_runs
from accuracy.score import PathOverrides
from base.errors import UserError
from record.folder import RunFolder, read_json, write_json
from record.structs import SettingsRecord
from tests.accuracy.made_up import WORDS, Logged, ids, scorable_run

TEXTS = ["the cat sat on the mat .", "the dog ran far .", "the dog sat ."]
BEFORE: list[Logged] = [
    (0, ids("the cat sat on the mat ."), None),
    (2, ids("the dog sat ."), None),
    (1, ids("the dog ran far ."), None),
]
AFTER: list[Logged] = [
    (1, ids("the dog sat far ."), None),
    (0, ids("the cat sat on the mat ."), None),
    (2, ids("the dog"), None),
]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[RunFolder, RunFolder]:
    before = scorable_run(tmp_path / "before", BEFORE, TEXTS)
    return before, scorable_run(tmp_path / "after", AFTER, TEXTS)


def test_answers_are_compared_by_index(runs: tuple[RunFolder, RunFolder]) -> None:
    found = compare_runs(*runs, PathOverrides())
    assert [pair.qsl_index for pair in found.pairs] == [0, 1, 2]
    assert [pair.identical for pair in found.pairs] == [True, False, False]
    assert [pair.first_difference for pair in found.pairs] == [None, 2, 2]
    assert found.pairs[2].tokens == (4, 2)
    assert found.identical == 1
    assert found.notes == []
    change = found.changes["rouge1"]
    assert change.before == pytest.approx(100)
    expected = [100, 75, 100 * 2 * (1 * 2 / 3) / (1 + 2 / 3)]
    assert [pair.rouge["rouge1"][1] for pair in found.pairs] == pytest.approx(expected)
    assert change.difference == pytest.approx(sum(expected) / 3 - 100)
    assert change.interval is not None
    assert change.interval[0] <= change.difference <= change.interval[1]


def test_a_change_is_noise_when_its_interval_holds_zero(tmp_path: Path) -> None:
    texts = ["the cat"] * 40
    same = [(i, ids("the cat"), None) for i in range(40)]
    mixed = [(i, ids("the cat" if i % 2 else "the dog"), None) for i in range(40)]
    before = scorable_run(tmp_path / "a", same, texts)
    after = scorable_run(tmp_path / "b", mixed, texts)
    assert not compare_runs(before, after, PathOverrides()).changes["rouge1"].is_noise
    assert compare_runs(before, before, PathOverrides()).changes["rouge1"].is_noise


def test_samples_of_one_run_alone_are_noted(tmp_path: Path) -> None:
    before = scorable_run(tmp_path / "before", BEFORE, TEXTS)
    after = scorable_run(tmp_path / "after", AFTER[:2], TEXTS)
    found = compare_runs(before, after, PathOverrides())
    assert [pair.qsl_index for pair in found.pairs] == [0, 1]
    assert "1 of 3 samples have no answer (index 2)" in found.notes[1]
    assert "1 answers that the other run does not have" in found.notes[0]


def test_what_cannot_be_compared_is_reported(tmp_path: Path) -> None:
    before = scorable_run(tmp_path / "before", BEFORE, TEXTS)
    other = scorable_run(tmp_path / "other", AFTER, [*TEXTS[:2], "far ."])
    with pytest.raises(UserError, match="data sets differ, first in row 2"):
        compare_runs(before, other, PathOverrides())
    apart = scorable_run(tmp_path / "apart", [BEFORE[1]], TEXTS)
    only = scorable_run(tmp_path / "only", [BEFORE[0]], TEXTS)
    with pytest.raises(UserError, match="no sample in common"):
        compare_runs(only, apart, PathOverrides())


def test_other_vocabularies_are_reported(runs: tuple[RunFolder, RunFolder]) -> None:
    settings = read_json(runs[1].settings, SettingsRecord)
    path = Path(str(settings.tokenizer))
    path.write_text(path.read_text().replace(f'"{WORDS[6]}"', '"bird"'))
    with pytest.raises(UserError, match="the vocabularies differ"):
        compare_runs(*runs, PathOverrides())
    settings.tokenizer = read_json(runs[0].settings, SettingsRecord).tokenizer
    write_json(runs[1].settings, settings)
    assert compare_runs(*runs, PathOverrides()).identical == 1


def test_the_command_prints_and_writes(
    runs: tuple[RunFolder, RunFolder],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "pairs.jsonl"
    arguments = [str(run.path) for run in runs]
    assert main(["compare", *arguments, "--samples", str(target)]) == 0
    out = capsys.readouterr().out
    assert "1 of 3 answers identical (33.3%)" in out
    assert "median 2, from 2 to 2" in out
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [line["first_difference"] for line in lines] == [None, 2, 2]


def test_mistakes_give_one_line(
    runs: tuple[RunFolder, RunFolder],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["compare", str(runs[0].path), str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert "none: no such run folder" in error
    assert error.count("\n") == 1
    unwritable = str(tmp_path / "none" / "x.jsonl")
    arguments = [str(run.path) for run in runs]
    assert main(["compare", *arguments, "--samples", unwritable]) == 2
    assert "x.jsonl" in capsys.readouterr().err
