import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from accuracy.__main__ import main
from accuracy.replicas import LOW_SCORES
from record.folder import RunFolder
from tests.accuracy.made_up import ids, scorable_run
from tests.run_folder import sample

COUNT = 80
RIGHT, WRONG = ids("the cat sat on the mat ."), ids("far far far far far far far")


def _run(path: Path, seed: int, wrong: float) -> RunFolder:
    """Write a run of two replicas, the second of which answers wrongly at times."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.arange(COUNT) % 2)
    bad = (owner == 1) & (rng.random(COUNT) < wrong)
    answers = [(i, WRONG if bad[i] else RIGHT, None) for i in range(COUNT)]
    texts = ["the cat sat on the mat ."] * COUNT
    folder = scorable_run(path, answers, texts)
    lines = [
        sample(i, int(owner[i]), prompt_tokens=i + 1, output_tokens=len(RIGHT))
        for i in range(COUNT)
    ]

    folder.samples.write_bytes(msgspec.json.Encoder().encode_lines(lines))
    return folder


def test_a_replica_with_low_scores_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _run(tmp_path, 0, 0.5)
    main([str(folder.path)])
    assert "warning: replica 1 on n1 answers differently" in capsys.readouterr().out
    written = json.loads((folder / "accuracy.json").read_text())
    (odd,) = written["odd_replicas"]
    assert odd["replica"] == 1
    assert odd["measure"] == LOW_SCORES
    assert (odd["own"], odd["others"]) == (pytest.approx(50, abs=16), 0)
    assert [row["answers"] for row in written["replicas"]] == [40, 40]
    assert written["replicas"][0]["scores"]["rougeL"] == pytest.approx(100)


def test_equal_replicas_are_not_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(_run(tmp_path, 0, 0.0).path)])
    assert "warning" not in capsys.readouterr().out


def test_two_runs_name_the_replica_whose_answers_do_not_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [_run(tmp_path / str(seed), seed, 0.5) for seed in range(2)]
    assert main(["compare", *(str(run.path) for run in runs)]) == 0
    out = capsys.readouterr().out
    assert "answers identical with those of other replicas" in out
    assert "warning: replica 1 on n1 answers differently (other tokens" in out
    assert "replica 0 on n1 answers" not in out
