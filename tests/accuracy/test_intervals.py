import numpy as np
import pytest

from accuracy.intervals import mean_intervals


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
