"""Percentiles as LoadGen takes them: the one definition of every figure we show."""

import numpy as np
from numpy.typing import NDArray


def loadgen_percentile(values: NDArray[np.float64], share: float) -> float | None:
    """Return a percentile as LoadGen takes it: element floor(n x share) in order.

    Args:
        values: in any order; NaN is left out.
        share: 0 to 1.

    Returns:
        The percentile; None where no value is known.
    """
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return None
    return float(known[min(len(known) - 1, int(len(known) * share))])
