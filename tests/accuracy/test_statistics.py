"""None"""

from pathlib import Path

import numpy as np
import pytest

from accuracy.score import score_run
from accuracy.statistics import mean_intervals
from tests.accuracy.made_up import scorable_run
from tests.run_folder import STOP


def test_an_interval_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(1).normal([5.0, -2.0], [1.0, 3.0], (2000, 2))
    found = mean_intervals(values)
    for column, interval in zip(values.T, found, strict=True):
        assert interval is not None
        half = 1.96 * column.std() / np.sqrt(len(column))
        assert interval[0] == pytest.approx(column.mean() - half, abs=0.2 * half)
        assert interval[1] == pytest.approx(column.mean() + half, abs=0.2 * half)


def test_the_same_log_gives_the_same_interval() -> None:
    values = np.random.default_rng(2).random((50, 1))
    assert mean_intervals(values) == mean_intervals(values)


def test_one_sample_has_no_interval() -> None:
    assert mean_intervals(np.ones((1, 2))) == [None, None]


TEXTS = ["the cat"] * 6


def test_lengths_and_ends(tmp_path: Path) -> None:
    answers = [
        (0, [1, 3, STOP], None),
        (1, [1, 3], None),
        (2, [], None),
        (3, [STOP], None),
        (4, [1, STOP, STOP], None),
        (5, [STOP, 1], None),
    ]
    tokens = score_run(scorable_run(tmp_path, answers, TEXTS)).tokens
    assert tokens.lengths.tolist() == [3, 2, 0, 1, 3, 2]
    assert tokens.ended_by_stop == pytest.approx(3 / 6)
    assert tokens.ended_by_length == pytest.approx(3 / 6)
    assert tokens.empty == [2]
    assert tokens.single == [3]
    assert tokens.double_stop == [4, 5]
    assert tokens.other_first is None


def test_first_tokens_are_held_against_those_reported(tmp_path: Path) -> None:
    answers = [
        (0, [1, 3], [1]),
        (1, [1, 3], [3]),
        (2, [1, 3], None),
        (3, [], []),
        (4, [1, 3], [1, 3]),
        (5, [5], [5]),
    ]
    folder = scorable_run(tmp_path, answers, TEXTS, streaming=True)
    assert score_run(folder).tokens.other_first == [1, 2, 4]
