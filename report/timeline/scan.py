"""Finds the spans of time in which a series differs from the rest of itself.

The alternative is an epidemic change: one level inside a span of bins, another outside
(A. B. Olshen et al., Circular binary segmentation, Biostatistics 5 (2004), 557-572).
Up to `ROUNDS` spans of a row are proposed, the clearest first. Each is then tested with
Student's t; the error comes from the bins outside all spans of the row, so that one
episode does not hide another. Neighbor bins are not independent: n of them count as
n (1 - r) / (1 + r) for their lag-1 autocorrelation r (Santer et al., Journal of
Geophysical Research 105 (2000), 7337-7356). A drift, a straight line over the whole
row, is tried first.

The probability of a false alarm is bounded by Bonferroni's correction for all spans
tried. Values far outside are clipped: one long step is no episode. The tests count
false alarms on noise with and without dependence, and on simulated even runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from report.reading.samples import BoolArray, FloatArray, IntArray

ROUNDS = 3
"""Spans of a row that are proposed."""
_CLIP = 6.0
_BIAS = 2.0
"""How much less dependent n bins look once spans are taken out, in units of 1/n: makes
up for it in simulation."""
_MOST_DEPENDENT = 0.95
_FEWEST_BINS = 16
_FEWEST_IN_SPAN = 2
_LEAST_NORMAL = 0.3
_SIMPLER = 1.2
"""A line may leave this much more unexplained: a span has two edges to fit."""
_MOST_FREEDOM = 30.0
_LEAST_FREEDOM = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A span of a row that differs from the rest of it."""

    row: int
    begin: int
    """First bin."""
    end: int
    """The bin after the last."""
    effect: float
    """Mean inside less mean outside; for a drift, the change from end to end."""
    p: float
    """Probability of such a change in an even row, corrected for the spans tried."""
    score: float
    """Gain in log likelihood: orders changes whose p is 0."""
    drift: bool = False
    """Whether it is a straight line over the whole row."""

    def mirrored(self, bins: int) -> "Change | None":
        """Return the change as one of the rest of the row; None: that is two spans."""
        if self.drift or (self.begin > 0 and self.end < bins):
            return None
        begin, end = (self.end, bins) if self.begin == 0 else (0, self.begin)
        return replace(self, begin=begin, end=end, effect=-self.effect)


def scan(
    rows: FloatArray, significance: float, drifts: bool = True, least_error: float = 0.0
) -> list[Change]:
    """Return the changes of each row whose p is below `significance`.

    A span is at most half a row long. One that touches an edge may as well be read as
    the opposite change of the rest: see `Change.mirrored`.

    Bins of NaN are left out, rows with fewer than 16 known bins too.

    Args:
        rows: shape (row, bin); 512 rows of 300 bins take about a second.
        significance: for each row; the caller corrects for their number.
        drifts: whether to try a straight line too.
        least_error: standard deviation of a bin, at least: what is known of the noise.
    """
    known = ~np.isnan(rows)
    tested = known.sum(axis=1) >= _FEWEST_BINS
    if not tested.any():
        return []
    clipped = np.where(known, _clipped(rows), 0.0)
    found: list[Change] = []
    if drifts:
        lines = list(_drifts(clipped, known, significance, least_error))
        found += [line for line in lines if tested[line.row]]
        x = _centered_time(known)
        for line in found:
            clipped[line.row] -= line.effect * x[line.row]
    tested_bins = known & tested[:, None]
    found += _spans(clipped, tested_bins, rows, significance, least_error)
    return sorted(found, key=lambda change: -change.score)


def mean_in(rows: FloatArray, chosen: NDArray[np.bool_]) -> FloatArray:
    """Return the mean of each row over the chosen bins that are known; else NaN."""
    chosen = chosen & ~np.isnan(rows)
    number = chosen.sum(axis=1)
    total = np.where(chosen, rows, 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _spans(
    clipped: FloatArray,
    known: BoolArray,
    rows: FloatArray,
    significance: float,
    least_error: float,
) -> Iterator[Change]:
    rest = clipped.copy()
    place = np.arange(rows.shape[1])
    proposed: list[tuple[IntArray, IntArray, BoolArray]] = []
    kept = np.ones((ROUNDS, len(rows)), bool)
    covered = np.zeros_like(known)
    for own in kept:
        begin, end = _clearest(rest, known)
        inside = known & (place >= begin[:, None]) & (place < end[:, None])
        gain = _plain_mean(rest, inside) - _plain_mean(rest, known & ~inside)
        rest -= np.where(inside, gain[:, None], 0.0)
        proposed.append((begin, end, inside))
        # Enough must be left to show what is normal.
        left = (known & ~covered & ~inside).sum(axis=1)
        own &= left >= _LEAST_NORMAL * known.sum(axis=1)
        # A part of a span that stands out from the rest of it is no second span.
        own &= 2 * (inside & covered).sum(axis=1) < inside.sum(axis=1)
        covered |= inside & own[:, None]
    for _ in range(2):
        # What did not hold is put back, and the others must hold without it.
        covered = np.zeros_like(known)
        for own, (_, _, inside) in zip(kept, proposed, strict=True):
            covered |= inside & own[:, None]
        normal = known & ~covered
        level = _plain_mean(clipped, normal)
        error, freedom = _error(clipped - level[:, None], normal)
        error = np.maximum(error, least_error)
        number = known.sum(axis=1)
        tries = number * _lengths(rows.shape[1]).size
        results = []
        taken = np.zeros_like(known)
        for own, (_, _, inside) in zip(kept, proposed, strict=True):
            # What an earlier span explains says nothing for this one.
            fresh = inside & ~taken
            effect = _plain_mean(clipped, fresh) - level
            k, m = fresh.sum(axis=1), normal.sum(axis=1)
            size = 1 / np.maximum(k, 1) + 1 / np.maximum(m, 1)
            t = np.abs(effect) / error / np.sqrt(size)
            p = np.minimum(1.0, 2 * stdtr(freedom, -t) * tries)
            results.append((fresh, p, freedom / 2 * np.log1p(t**2 / freedom)))
            own &= (p < significance) & (np.minimum(k, m) >= _FEWEST_IN_SPAN)
            taken |= inside & own[:, None]
    for own, (begin, end, _), (fresh, p, score) in zip(
        kept, proposed, results, strict=True
    ):
        effect = mean_in(rows, fresh) - mean_in(rows, normal)
        for row in np.flatnonzero(own).tolist():
            yield Change(
                row=row,
                begin=int(begin[row]),
                end=int(end[row]),
                effect=float(effect[row]),
                p=float(p[row]),
                score=float(score[row]),
            )


def _drifts(
    clipped: FloatArray, known: BoolArray, significance: float, least_error: float
) -> Iterator[Change]:
    """Yield rows that a straight line explains about as well as one span does."""
    x = _centered_time(known)
    y = np.where(known, clipped - _plain_mean(clipped, known)[:, None], 0.0)
    power = np.maximum((x**2).sum(axis=1), 1e-12)
    slope = (x * y).sum(axis=1) / power
    rest = y - slope[:, None] * x
    error, freedom = _error(rest, known)
    error = np.maximum(error, least_error)
    t = np.abs(slope) * np.sqrt(power) / error
    p = 2 * stdtr(freedom, -t)
    begin, end = _clearest(clipped, known)
    place = np.arange(clipped.shape[1])
    inside = known & (place >= begin[:, None]) & (place < end[:, None])
    low, high = _plain_mean(y, known & ~inside), _plain_mean(y, inside)
    step = np.where(inside, y - high[:, None], y - low[:, None])
    squares = [(np.where(known, r, 0.0) ** 2).sum(axis=1) for r in (rest, step)]
    simpler = squares[0] <= _SIMPLER * squares[1]
    for row in np.flatnonzero(simpler & (p < significance)).tolist():
        yield Change(
            row=row,
            begin=0,
            end=clipped.shape[1],
            effect=float(slope[row]),
            p=float(p[row]),
            score=float(freedom[row] / 2 * np.log1p(t[row] ** 2 / freedom[row])),
            drift=True,
        )


def _centered_time(known: BoolArray) -> FloatArray:
    """Return time from -0.5 to 0.5 over a row, less its mean over the known bins."""
    x = np.where(known, np.linspace(-0.5, 0.5, known.shape[1]), 0.0)
    middle = x.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known, x - middle[:, None], 0.0)


def _clipped(rows: FloatArray) -> FloatArray:
    """Return the rows without values that lie far outside.

    Where most bins hold one and the same value, the robust deviation says nothing: so
    what one bin in 40 or more shows is never clipped.
    """
    filled = np.where(np.isnan(rows).all(axis=1, keepdims=True), 0.0, rows)
    middle: FloatArray = np.nanmedian(filled, axis=1, keepdims=True)
    distance = np.abs(filled - middle)
    robust = 1.4826 * np.nanmedian(distance, axis=1, keepdims=True)
    common = np.nanquantile(distance, 0.975, axis=1, keepdims=True)
    reach = np.maximum(_CLIP * robust, common)
    result: FloatArray = np.clip(filled, middle - reach, middle + reach)
    return result


def _lengths(bins: int) -> IntArray:
    """Return the lengths of spans that are tried: all short ones, then 5% apart.

    None is longer than half the row: what lasts longer is the normal state.
    """
    steps = [_FEWEST_IN_SPAN]
    while (following := max(steps[-1] + 1, round(steps[-1] * 1.05))) <= bins / 2:
        steps.append(following)
    return np.array(steps)


def _clearest(rows: FloatArray, known: BoolArray) -> tuple[IntArray, IntArray]:
    """Return begin and end of the span of each row with the greatest statistic.

    That is |difference of means| sqrt(k (n - k) / n) for k of n bins in the span.
    """
    count, bins = rows.shape
    centered = np.where(known, rows - _plain_mean(rows, known)[:, None], 0.0)
    sums = np.pad(np.cumsum(centered, axis=1), ((0, 0), (1, 0)))
    numbers = np.pad(np.cumsum(known, axis=1), ((0, 0), (1, 0))).astype(float)
    total = numbers[:, -1:]
    best = np.zeros(count)
    begin, end = np.zeros(count, np.int64), np.ones(count, np.int64)
    everyone = np.arange(count)
    for length in _lengths(bins).tolist():
        s = sums[:, length:] - sums[:, :-length]
        k = numbers[:, length:] - numbers[:, :-length]
        enough = (k >= _FEWEST_IN_SPAN) & (total - k >= _FEWEST_IN_SPAN)
        value = np.where(enough, s**2, 0.0) / np.maximum(k * (total - k), 1)
        place = value.argmax(axis=1)
        top = value[everyone, place]
        better = top > best
        best[better] = top[better]
        begin[better], end[better] = place[better], place[better] + length
    return begin, end


def _error(rest: FloatArray, normal: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return the deviation of a bin with its neighbors' dependence, and the freedom."""
    held = np.where(normal, rest, 0.0)
    squares = (held**2).sum(axis=1)
    number = np.maximum(normal.sum(axis=1), 1)
    pairs = (held[:, 1:] * held[:, :-1]).sum(axis=1)
    r = pairs / np.maximum(squares, np.finfo(float).tiny)
    r = np.clip(r + _BIAS * (1 + 3 * r) / number, 0.0, _MOST_DEPENDENT)
    inflation = (1 + r) / (1 - r)
    variance = squares / np.maximum(number - 1, 1) * inflation
    freedom = np.clip(number / inflation - 1, _LEAST_FREEDOM, _MOST_FREEDOM)
    return np.sqrt(np.maximum(variance, 1e-18)), freedom


def _plain_mean(rows: FloatArray, chosen: BoolArray) -> FloatArray:
    """Return the mean of each row over the chosen bins; 0 where there is none."""
    result: FloatArray = np.where(chosen, rows, 0.0).sum(axis=1) / np.maximum(
        chosen.sum(axis=1), 1
    )
    return result
