import numpy as np
import pytest
from scipy import stats

from report.statistics.noise import (
    SINGLE,
    compare,
    compare_alone,
    error_of_mean,
    holm,
    mean_interval,
)


def _cells(rng: np.random.Generator, groups: int, blocks: int = 20) -> np.ndarray:
    return np.exp(rng.normal(3, 0.03, (groups, blocks)))


@pytest.mark.integration
def test_equal_groups_differ_by_noise_alone() -> None:
    rng = np.random.default_rng(0)
    for groups in (2, 4, 16, 80):
        for _ in range(20):
            difference = compare(_cells(rng, groups))
            assert difference.tested
            assert not difference.beyond_noise.any()
            assert difference.spread_beyond_noise_pct() == 0


@pytest.mark.parametrize("groups", [2, 4, 16, 80])
def test_a_slow_group_is_found_with_its_effect(groups: int) -> None:
    cells = _cells(np.random.default_rng(1), groups)
    cells[1] /= 1.15
    difference = compare(cells)
    assert difference.beyond_noise[1]
    assert difference.effects[1] == pytest.approx(1 / 1.15 - 1, abs=0.03)
    assert difference.spans[1].tolist() == [0, 20]
    assert difference.beyond_noise.sum() == (2 if groups == 2 else 1)


def test_a_slow_stretch_is_found_with_its_span() -> None:
    cells = _cells(np.random.default_rng(2), 6)
    cells[4, 5:11] /= 1.4
    difference = compare(cells)
    assert difference.beyond_noise.tolist() == [False] * 4 + [True, False]
    assert difference.spans[4].tolist() == [5, 11]
    assert difference.span_effects[4] == pytest.approx(1 / 1.4 - 1, abs=0.03)


def test_too_few_blocks_prove_nothing() -> None:
    difference = compare(np.array([[1.0] * 5, [3.0] * 5]))
    assert not difference.tested
    assert not difference.beyond_noise.any()


def test_empty_cells_are_left_out() -> None:
    cells = _cells(np.random.default_rng(3), 4)
    cells[2, 3:6] = np.nan
    cells[1, 0] = 0
    assert not compare(cells).beyond_noise.any()


def test_independent_values_are_compared_by_rank() -> None:
    rng = np.random.default_rng(4)
    slow = compare_alone([rng.normal(10, 1, 30), rng.normal(13, 1, 30)])
    assert slow.beyond_noise.all()
    assert not compare_alone([rng.normal(10, 1, 9), np.array([14.0])]).tested


def test_holm_against_the_definition() -> None:
    p = np.array([0.01, 0.04, 0.03, np.nan, 0.005])
    assert holm(p)[[0, 1, 2, 4]] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(holm(p)[3])


def test_interval_of_independent_values_is_students() -> None:
    values = np.random.default_rng(5).permutation(np.linspace(1, 2, 30))
    error, freedom = error_of_mean(values)
    low, high = mean_interval(values)
    half = stats.t.ppf(0.975, freedom) * error
    assert (low, high) == pytest.approx((1.5 - half, 1.5 + half))
    assert error >= values.std(ddof=1) / 30**0.5 * 0.999
    waves = np.repeat([1.0, 2.0], 15)
    assert error_of_mean(waves)[0] > 2 * error


def test_a_single_long_step_is_noise_over_the_run() -> None:
    cells = _cells(np.random.default_rng(6), 2, 24)
    cells[1, 7:9] /= 1.6
    difference = compare(cells)
    # The scan sees the two blocks; over the run they say nothing of the replica.
    assert difference.beyond_noise.any()
    assert (difference.whole_p > 0.1).all()
    assert difference.spread_beyond_noise_pct() == 0
    cells = _cells(np.random.default_rng(6), 2, 24)
    cells[1] /= 1.1
    assert compare(cells).spread_beyond_noise_pct(4) > 7.5


def test_waves_shared_by_neighboring_blocks_are_noise() -> None:
    wave = np.cumsum(np.random.default_rng(8).normal(0, 0.02, 24))
    even, uneven = np.ones(24), np.exp(wave)
    assert (compare(np.array([even, uneven])).whole_p > 0.01).all()


def test_a_single_group_has_no_peer() -> None:
    assert compare(np.ones((1, 30))).method == SINGLE
