"""A least squares fit that a quarter of the points cannot spoil."""

import numpy as np

from report.reading.samples import FloatArray


def least_trimmed(y: FloatArray, x: FloatArray) -> FloatArray:
    """Return coefficients fitted to the three quarters of the points that fit best.

    Source: P. J. Rousseeuw, K. van Driessen, Data Mining and Knowledge Discovery 12
    (2006), 29-45 (concentration steps from the fit of all points).

    Args:
        y: shape (point,).
        x: shape (point, coefficient).
    """
    chosen = np.ones(len(y), bool)
    fitted = np.zeros(x.shape[1])
    for _ in range(20):
        fitted = np.linalg.lstsq(x[chosen], y[chosen], rcond=None)[0]
        rest = np.abs(y - x @ fitted)
        best = rest <= np.quantile(rest, 0.75)
        if np.array_equal(best, chosen):
            break
        chosen = best
    return fitted
