"""Summaries of columns, rounded as a report shows them, and a robust fit."""

import numpy as np

from base.percentiles import loadgen_percentile
from record.structs import Json
from report.reading.samples import FloatArray, IntArray

MS = 1e6
"""Nanoseconds in a millisecond."""


def rounded(value: float | np.floating | None, digits: int = 5) -> float | None:
    """Return `value` rounded to significant digits; None for NaN and None."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{float(value):.{digits}g}")


def ratio(part: float, whole: float, digits: int = 5) -> float | None:
    """Return part / whole; None where `whole` is 0."""
    return rounded(part / whole, digits) if whole else None


def known(values: FloatArray) -> FloatArray:
    """Return the values that are not NaN."""
    found: FloatArray = values[~np.isnan(values)]
    return found


def bits(values: FloatArray) -> IntArray:
    """Return bit masks as integers; values that are no masks become 0."""
    plain = np.where((values >= 0) & (values < 2**63), values, 0)
    return plain.astype(np.int64)


def mean(values: FloatArray, scale: float = 1.0) -> float | None:
    """Return the mean of the known values / `scale`; None if none is known."""
    own = known(values)
    return rounded(own.mean() / scale) if len(own) else None


def percentile(values: FloatArray, percent: float, scale: float = 1.0) -> float | None:
    """Return a percentile (0 to 100) as LoadGen takes it; None where none is known."""
    found = loadgen_percentile(values, percent / 100)
    return None if found is None else rounded(found / scale)


def lengths(values: np.ndarray) -> dict[str, Json] | None:
    """Return min, mean, p50, p90 and max of counts; None without values."""
    if not len(values):
        return None
    return {
        "min": int(values.min()),
        "mean": rounded(values.mean()),
        "p50": percentile(values.astype(float), 50),
        "p90": percentile(values.astype(float), 90),
        "max": int(values.max()),
    }


def gib(value: float | None) -> float | None:
    """Return bytes as GiB."""
    return None if value is None else rounded(value / 2**30)


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
