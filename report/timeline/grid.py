"""Sums of values by replica and by bin of time."""

from dataclasses import dataclass

import numpy as np

from report.reading.samples import BoolArray, FloatArray, IntArray


@dataclass(slots=True, kw_only=True)
class Readings:
    """Telemetry of one measure: a value of a replica at a time."""

    t_s: FloatArray
    replica: IntArray
    value: FloatArray


class Grid:
    """Sums of values by replica and bin."""

    def __init__(self, rows: int, bins: int, width_s: float) -> None:
        self.shape, self.width_s = (rows, bins), width_s

    def _place(self, owner: IntArray, t_s: FloatArray) -> tuple[IntArray, BoolArray]:
        bins = self.shape[1]
        own = (owner >= 0) & (t_s >= 0) & (t_s <= bins * self.width_s)
        column = np.minimum((t_s[own] / self.width_s).astype(np.int64), bins - 1)
        return owner[own] * bins + column, own

    def add(self, owner: IntArray, t_s: FloatArray, value: FloatArray) -> FloatArray:
        """Return the sum of `value` by replica and bin."""
        place, own = self._place(owner, t_s)
        size = self.shape[0] * self.shape[1]
        sums: FloatArray = np.bincount(place, value[own], size).astype(np.float64)
        return sums.reshape(self.shape)

    def sums(
        self, owner: IntArray, t_s: FloatArray, values: dict[str, FloatArray]
    ) -> dict[str, FloatArray]:
        """Return the sum of each of `values` by replica and bin."""
        place, own = self._place(owner, t_s)
        size = self.shape[0] * self.shape[1]
        whole = bool(own.all())
        return {
            name: np.bincount(place, value if whole else value[own], size)
            .astype(np.float64)
            .reshape(self.shape)
            for name, value in values.items()
        }

    def count(self, owner: IntArray, t_s: FloatArray) -> FloatArray:
        """Return how many by replica and bin."""
        return self.add(owner, t_s, np.ones(len(t_s)))

    def held(
        self,
        owner: IntArray,
        begin_s: FloatArray,
        end_s: FloatArray,
        weight: FloatArray | None = None,
    ) -> FloatArray:
        """Return the mean over each bin of the sum of weights between begin and end."""
        known = ~(np.isnan(begin_s) | np.isnan(end_s))
        owner, begin_s, end_s = owner[known], begin_s[known], end_s[known]
        weights = np.ones(len(owner)) if weight is None else weight[known]
        total = np.zeros(self.shape)
        for t_s, sign in ((begin_s, 1.0), (end_s, -1.0)):
            here = self.add(owner, t_s, sign * weights)
            # Part of its own bin that an entry covers: from its time to the bin's end.
            left = 1 - np.minimum(t_s / self.width_s % 1.0, 1.0)
            part = self.add(owner, t_s, sign * weights * left)
            total += np.cumsum(here, axis=1) - here + part
        return total

    def mean(self, readings: Readings) -> FloatArray:
        """Return the mean of the readings by replica and bin; NaN without one."""
        known = ~np.isnan(readings.value)
        owner, t_s = readings.replica[known], readings.t_s[known]
        return ratio(
            self.add(owner, t_s, readings.value[known]), self.count(owner, t_s)
        )

    def least(
        self, into: FloatArray, owner: IntArray, t_s: FloatArray, value: FloatArray
    ) -> None:
        """Lower each bin of `into` to the least of its values."""
        place, own = self._place(owner, t_s)
        np.minimum.at(into.reshape(-1), place, value[own])

    def bits(self, readings: Readings | None) -> IntArray:
        """Return the union of bit masks by replica and bin."""
        seen = np.zeros(self.shape[0] * self.shape[1], np.int64)
        if readings is not None:
            known = ~np.isnan(readings.value)
            place, own = self._place(readings.replica[known], readings.t_s[known])
            np.bitwise_or.at(seen, place, readings.value[known][own].astype(np.int64))
        return seen.reshape(self.shape)


def ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    """Return top / bottom, NaN where bottom is 0."""
    result = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=result, where=bottom > 0)
    return result
