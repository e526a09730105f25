"""Histograms of latencies for many replicas at once."""

import numpy as np
from numpy.typing import NDArray

_SHARES = (
    *(
        0.001,
        0.002,
        0.005,
        0.01,
        0.02,
        0.05,
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
        1.0,
    ),
    *(1.1, 1.25, 1.5, 2.0, 3.0, 5.0),
)
"""Bounds as shares of a limit. The limit is one of them, so that the share of samples
that hold it is exact."""
_DECADES = (-3, -2, -1, 0, 1, 2)
_STEPS = (1.0, 2.0, 5.0)


def bounds_for(limit_s: float | None) -> NDArray[np.float64]:
    """Return upper bounds of the buckets in s, without the last, infinite one.

    Args:
        limit_s: of the latency; None: it has none, and the bounds span 1 ms to 500 s.
    """
    if limit_s is None:
        return np.array([step * 10.0**power for power in _DECADES for step in _STEPS])
    return np.array([float(f"{limit_s * share:.6g}") for share in _SHARES])


class Histograms:
    """One histogram per row; rows are added as needed."""

    def __init__(self, bounds: NDArray[np.float64]) -> None:
        """Start without rows; `bounds` are upper bounds, each inclusive."""
        self.bounds = bounds
        self.counts = np.zeros((0, len(bounds) + 1), np.int64)
        """Samples by row and bucket, not cumulative; shape (rows, buckets)."""
        self.sums = np.zeros(0)
        """Sum of the values by row, in s."""

    def add(
        self, rows: NDArray[np.int64], values_s: NDArray[np.float64], count: int
    ) -> None:
        """Add values.

        Args:
            rows: row of each value.
            values_s: in s.
            count: number of rows from now on.
        """
        more = count - len(self.counts)
        if more > 0:
            self.counts = np.pad(self.counts, ((0, more), (0, 0)))
            self.sums = np.pad(self.sums, (0, more))
        buckets = self.counts.shape[1]
        flat = rows * buckets + np.searchsorted(self.bounds, values_s, side="left")
        self.counts += np.bincount(flat, minlength=count * buckets).reshape(-1, buckets)
        self.sums += np.bincount(rows, values_s, minlength=count)
