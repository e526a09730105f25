"""The ratio of two sides with its interval, and how many runs would decide.

Everything is computed on logarithms, since the noise of a rate or a latency is a
percentage of it. Sources: Welch (1947) for the interval of unpaired runs; Student's t
of the differences for paired runs; Cohen, "Statistical Power Analysis" (1988), chapter
2, for the power of a t test by the noncentral t distribution; Browne (1995), "On the
use of a pilot sample for sample size determination", Statistics in Medicine 14, for the
upper limit of the noise in place of its estimate; Holm (1979) for several measures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, nctdtr, stdtr, stdtrit

CONFIDENCE = 0.95
POWER = 0.8
_NOISE_LIMIT = 0.8
"""Probability that the noise is below the limit that sample sizes are computed with."""
_MOST_RUNS = 10_000
_CERTAIN = 8.0
"""Standard errors beyond which nothing is missed, with as many degrees of freedom."""


@dataclass(slots=True, kw_only=True)
class RatioEstimate:
    """Ratio of side B to side A in one measure."""

    ratio: float
    """Of the geometric means."""
    low: float
    """Lower end of the 95% interval; NaN if each side has one run."""
    high: float
    p: float
    """Probability of such a ratio or a larger one from noise alone; NaN likewise."""
    noise: float
    """Standard deviation from run to run of the logarithm: of a run of either side
    (unpaired), or of the difference of a pair (paired). NaN likewise."""
    freedom: float
    """Degrees of freedom of `noise`."""


def unpaired(a: Sequence[float], b: Sequence[float]) -> RatioEstimate:
    """Return B / A of independent runs, all above zero.

    If one side has a single run, the noise of the other side stands for both.
    """
    one, other = np.log(a), np.log(b)
    freedoms = np.array([len(one) - 1.0, len(other) - 1.0])
    freedom = float(freedoms.sum())
    shift = float(other.mean() - one.mean())
    if freedom == 0:
        return _unknown(shift)
    squares = np.array([_squares(one), _squares(other)])
    noise = float((squares.sum() / freedom) ** 0.5)
    counts = freedoms + 1
    if freedoms.min() == 0:
        error, error_freedom = noise * float((1 / counts).sum()) ** 0.5, freedom
    else:
        parts = squares / freedoms / counts
        error = float(parts.sum() ** 0.5)
        weights = float((parts**2 / freedoms).sum())
        error_freedom = float(parts.sum() ** 2 / weights) if weights else freedom
    return _estimate(shift, error, error_freedom, noise, freedom)


def paired(a: Sequence[float], b: Sequence[float]) -> RatioEstimate:
    """Return B / A of pairs of runs, one after the other, all above zero."""
    differences = np.log(b) - np.log(a)
    count = len(differences)
    shift = float(differences.mean())
    if count < 2:
        return _unknown(shift)
    noise = float((_squares(differences) / (count - 1)) ** 0.5)
    return _estimate(shift, noise / count**0.5, count - 1.0, noise, count - 1.0)


def runs_for(difference: float, estimate: RatioEstimate, is_paired: bool) -> int | None:
    """Return the runs of each side that find a difference with a power of 80%.

    The level of the test is 5%. The noise is taken at the limit below which it lies
    with 80% probability, given the runs so far (Browne).

    Args:
        difference: of the logarithms, e.g. log(1.01) for 1%.
        estimate: what the runs so far show.
        is_paired: whether the runs are pairs.

    Returns:
        Number of runs of each side, 2 or more; None if the noise is unknown, or if
        more than 10,000 runs were needed.
    """
    if not np.isfinite(estimate.noise):
        return None
    noise = _noise_limit(estimate)
    low, high = 2, _MOST_RUNS
    if power(difference, noise, high, is_paired) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        if power(difference, noise, middle, is_paired) >= POWER:
            high = middle
        else:
            low = middle + 1
    return low


def power(difference: float, noise: float, runs: int, is_paired: bool) -> float:
    """Return the probability that a t test at 5% finds a difference.

    Args:
        difference: of the logarithms.
        noise: standard deviation, as in `RatioEstimate.noise`.
        runs: of each side.
        is_paired: whether the runs are pairs.
    """
    if noise <= 0:
        return 1.0
    freedom = runs - 1.0 if is_paired else 2.0 * runs - 2
    error = noise * ((1 if is_paired else 2) / runs) ** 0.5
    limit = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))
    center = abs(difference) / error
    if center > _CERTAIN + limit and freedom > _CERTAIN:
        return 1.0  # The distribution function is not computed that far out.
    missed = float(nctdtr(freedom, center, limit))
    # The tail on the other side; it vanishes, and has no value, far from zero.
    other = float(nctdtr(freedom, center, -limit)) if center < _CERTAIN else 0.0
    return 1 - missed + other


def smallest_found(estimate: RatioEstimate, runs: int, is_paired: bool) -> float | None:
    """Return the smallest difference of logarithms that `runs` find in 80% of cases."""
    if not np.isfinite(estimate.noise) or runs < 2:
        return None
    low, high = 0.0, 1.0
    while power(high, estimate.noise, runs, is_paired) < POWER:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        if power(middle, estimate.noise, runs, is_paired) < POWER:
            low = middle
        else:
            high = middle
    return high


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number, in the same order; NaN stays NaN."""
    values = np.array(probabilities, float)
    adjusted = np.full(len(values), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    highest = 0.0
    for rank, index in enumerate(known[np.argsort(values[known], kind="stable")]):
        highest = max(highest, min(1.0, float(values[index]) * (len(known) - rank)))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def _noise_limit(estimate: RatioEstimate) -> float:
    quantile = float(chdtri(estimate.freedom, _NOISE_LIMIT))
    return float(estimate.noise * (estimate.freedom / quantile) ** 0.5)


def _squares(values: NDArray[np.float64]) -> float:
    return float(((values - values.mean()) ** 2).sum())


def _unknown(shift: float) -> RatioEstimate:
    nan = float("nan")
    ratio = float(np.exp(shift))
    return RatioEstimate(ratio=ratio, low=nan, high=nan, p=nan, noise=nan, freedom=0.0)


def _estimate(
    shift: float, error: float, error_freedom: float, noise: float, freedom: float
) -> RatioEstimate:
    half = float(stdtrit(error_freedom, 0.5 + CONFIDENCE / 2)) * error
    if error > 0:
        p = 2 * float(stdtr(error_freedom, -abs(shift) / error))
    else:
        p = 0.0 if shift else 1.0
    low, ratio, high = (float(np.exp(v)) for v in (shift - half, shift, shift + half))
    return RatioEstimate(
        ratio=ratio, low=low, high=high, p=p, noise=noise, freedom=freedom
    )
