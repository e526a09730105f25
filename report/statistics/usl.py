"""Universal Scalability Law: throughput of N replicas, and where it stops growing.

X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1)); sigma is the share of work
that is serial, kappa the cost of coherence between replicas. Source:
N. J. Gunther, Guerrilla Capacity Planning (Springer, 2007), chapter 4.
"""

from dataclasses import dataclass

import numpy as np

from report.reading.samples import FloatArray

FEWEST_SIZES = 4
_RESAMPLES = 400
_ZERO = 1e-6


@dataclass(slots=True, kw_only=True)
class Estimate:
    """A fitted value with its 95% confidence interval."""

    value: float
    low: float
    high: float


@dataclass(slots=True, kw_only=True)
class Fit:
    """A fitted law with its forecasts."""

    rate: Estimate
    """Throughput of one replica, lambda."""
    sigma: Estimate
    kappa: Estimate
    peak: float | None
    """Number of replicas above which throughput falls; None: it never falls."""
    forecasts: dict[int, Estimate]
    """Throughput by number of replicas."""


def fit(sizes: FloatArray, values: FloatArray, ahead: list[int]) -> Fit:
    """Return the law fitted to runs, and its forecast for the sizes `ahead`.

    Least squares over logarithms; intervals by a bootstrap of residuals with a fixed
    seed (Efron and Tibshirani, An Introduction to the Bootstrap, section 9.4).

    Args:
        sizes: replicas of each run, of at least `FEWEST_SIZES` different values.
        values: throughput of each run.
        ahead: sizes to forecast.
    """
    best = _solve(sizes, np.log(values))
    predicted = np.log(law(sizes, best))
    # Residuals of a fit are too small; the factor corrects for three parameters.
    residuals = (np.log(values) - predicted) * (len(values) / (len(values) - 3)) ** 0.5
    rng = np.random.default_rng(0)
    draws = np.array(
        [
            _solve(sizes, predicted + rng.choice(residuals, len(residuals)))
            for _ in range(_RESAMPLES)
        ]
    )
    low, high = np.percentile(draws, (2.5, 97.5), axis=0)
    rate, sigma, kappa = (
        Estimate(value=_clean(v), low=_clean(a), high=_clean(b))
        for v, a, b in zip(best, low, high, strict=True)
    )
    return Fit(
        rate=rate,
        sigma=sigma,
        kappa=kappa,
        peak=((1 - sigma.value) / kappa.value) ** 0.5 if kappa.value else None,
        forecasts={size: _forecast(size, best, draws) for size in ahead},
    )


def _clean(value: float) -> float:
    """Return 0 for values that the solver left just above its bound of 0."""
    return float(value) if value > _ZERO else 0.0


def law(sizes: FloatArray, parameters: FloatArray) -> FloatArray:
    """Return the law's throughput for (lambda, sigma, kappa)."""
    rate, sigma, kappa = parameters
    values: FloatArray = (
        rate * sizes / (1 + sigma * (sizes - 1) + kappa * sizes * (sizes - 1))
    )
    return values


def _forecast(size: int, best: FloatArray, draws: FloatArray) -> Estimate:
    at = np.array([float(size)])
    values = [float(law(at, draw)[0]) for draw in draws]
    low, high = np.percentile(values, (2.5, 97.5))
    return Estimate(value=float(law(at, best)[0]), low=float(low), high=float(high))


def _solve(sizes: FloatArray, logs: FloatArray) -> FloatArray:
    from scipy.optimize import least_squares  # takes a second; few reports need it

    start = [float(np.exp((logs - np.log(sizes)).max())), 0.01, 1e-4]
    solution = least_squares(
        lambda p: np.log(law(sizes, p)) - logs,
        start,
        bounds=([1e-12, 0, 0], [np.inf, 1, 1]),
        x_scale=[start[0], 0.01, 1e-4],
    )
    best: FloatArray = solution.x
    return best
