import numpy as np
import pytest

from report.statistics.usl import fit, law

pytestmark = pytest.mark.integration  # a bootstrap takes seconds


def test_known_parameters_are_found_again() -> None:
    rng = np.random.default_rng(0)
    true = np.array([55.0, 0.03, 2e-4])
    sizes = np.repeat([1.0, 2, 4, 8, 16, 32], 3)
    values = law(sizes, true) * np.exp(rng.normal(0, 0.01, len(sizes)))
    found = fit(sizes, values, [64])
    for interval, value in zip(
        (found.rate, found.sigma, found.kappa), true, strict=True
    ):
        # A 95% interval misses one time in twenty: allow for half of it again.
        room = (interval.high - interval.low) / 2
        assert interval.low - room <= value <= interval.high + room
    assert found.rate.value == pytest.approx(55, rel=0.03)
    ahead = found.forecasts[64]
    assert ahead.low < law(np.array([64.0]), true)[0] < ahead.high
    assert found.peak == pytest.approx(((1 - 0.03) / 2e-4) ** 0.5, rel=0.3)


def test_linear_scaling_has_no_peak_in_sight() -> None:
    sizes = np.repeat([1.0, 2, 4, 8], 3)
    noise = np.exp(np.random.default_rng(1).normal(0, 0.005, len(sizes)))
    found = fit(sizes, 10 * sizes * noise, [16])
    assert found.sigma.low == pytest.approx(0, abs=0.01)
    assert found.peak is None or found.peak > 50
    assert found.forecasts[16].value == pytest.approx(160, rel=0.05)
