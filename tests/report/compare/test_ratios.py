from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from report.compare.ratios import (
    holm,
    paired,
    power,
    runs_for,
    smallest_found,
    unpaired,
)


def test_unpaired_is_welch_of_the_logarithms() -> None:
    a, b = [100.0, 103.0, 101.0], [110.0, 108.0, 112.0, 109.0]
    found = unpaired(a, b)
    expected = stats.ttest_ind(np.log(b), np.log(a), equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert [found.low, found.high] == pytest.approx(np.exp(interval))


def test_paired_is_student_of_the_differences() -> None:
    a, b = [100.0, 90.0, 80.0, 85.0], [101.0, 92.0, 81.0, 85.5]
    found = paired(a, b)
    expected = stats.ttest_rel(np.log(b), np.log(a))
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert [found.low, found.high] == pytest.approx(np.exp(interval))
    # Drift is common to both runs of a pair: independent runs would hide it.
    assert unpaired(a, b).p > 0.5


def test_a_single_run_borrows_the_noise_of_the_other_side() -> None:
    found = unpaired([100.0], [110.0, 108.0, 112.0, 109.0])
    many = np.log([110.0, 108.0, 112.0, 109.0])
    error = many.std(ddof=1) * (1 + 1 / 4) ** 0.5
    half = stats.t.ppf(0.975, 3) * error
    assert found.low == pytest.approx(np.exp(many.mean() - np.log(100) - half))
    assert found.freedom == 3


def test_one_run_of_each_side_shows_no_noise() -> None:
    found = unpaired([100.0], [110.0])
    assert found.ratio == pytest.approx(1.1)
    assert np.isnan([found.low, found.high, found.p]).all()
    assert runs_for(0.01, found, is_paired=False) is None
    assert smallest_found(found, 1, is_paired=False) is None


@pytest.mark.parametrize("is_paired", [True, False])
def test_power_equals_simulated_power(is_paired: bool) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, 0.02, (2, 20_000, 6))
    if is_paired:
        p = stats.ttest_1samp(b + 0.025, 0, axis=1).pvalue
    else:
        p = stats.ttest_ind(b + 0.025, a, axis=1).pvalue
    expected = power(0.025, 0.02, 6, is_paired)
    assert (p < 0.05).mean() == pytest.approx(expected, abs=0.012)


def test_more_runs_find_more() -> None:
    found = unpaired([100.0, 103.0, 101.0], [100.5, 104.0, 101.0])
    one, other = (runs_for(size, found, is_paired=False) for size in (0.01, 0.05))
    assert one is not None
    assert other is not None
    assert one > other >= 2
    few, many = (smallest_found(found, n, is_paired=False) for n in (3, 30))
    assert few is not None
    assert many is not None
    assert power(few, found.noise, 3, is_paired=False) == pytest.approx(0.8, abs=1e-3)
    assert few > many
    assert runs_for(1e-7, found, is_paired=False) is None


@pytest.mark.parametrize("compare", [paired, unpaired])
def test_runs_without_noise(
    compare: Callable[[list[float], list[float]], object],
) -> None:
    same = compare([2.0, 2.0], [2.0, 2.0])
    other = compare([2.0, 2.0], [3.0, 3.0])
    assert getattr(same, "p") == 1.0  # noqa: B009
    assert getattr(other, "p") == 0.0  # noqa: B009


def test_holm_corrects_for_the_number_of_measures() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    adjusted = holm([0.01, float("nan")])
    assert adjusted[0] == 0.01
    assert np.isnan(adjusted[1])
