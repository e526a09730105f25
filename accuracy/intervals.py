"""Confidence intervals of means over samples."""

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_RESAMPLES = 1000
_BATCH = 50
_SEED = 20_250_101

ConfidenceInterval = tuple[float, float]


def mean_intervals(values: NDArray[np.float64]) -> list[ConfidenceInterval | None]:
    """Return the 95% interval of the mean of each column, by bootstrap.

    The percentile bootstrap: samples are drawn again with replacement, 1,000 times,
    and the interval holds the middle 95% of the means. The seed is fixed, so that the
    same log gives the same interval. Source: Efron and Tibshirani, "An Introduction
    to the Bootstrap" (1993), chapter 13, as implemented by scipy.

    Args:
        values: shape (samples, columns).

    Returns:
        Low and high end for each column, in the unit of `values`; None where there
        are fewer than two samples.
    """
    if len(values) < 2:
        return [None] * values.shape[1]
    from scipy.stats import bootstrap  # takes a second, which few commands need

    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        axis=0,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return [
        (float(low), float(high))
        for low, high in zip(found.low, found.high, strict=True)
    ]
