"""Separates differences between replicas from noise, by the method of batch means.

In each block of time (`report.statistics.blocks`) a group (replica or node) is compared
with the median of the others. A scan over all spans of blocks finds what lasts for the
whole run as well as what lasts for a part of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from report.reading.samples import BoolArray, FloatArray, IntArray
from report.statistics.blocks import FEWEST_BLOCKS

SIGNIFICANCE = 0.01
_FEWEST_ALONE = 4
_FEWEST_IN_SPAN = 2
_MOST_FREEDOM = 8
"""Highest number of degrees of freedom: latencies have heavy tails."""
_LEAST_DEVIATION = 0.005
"""Smallest deviation of a block that is assumed: half a percent means nothing."""
_SIMPLER = 1.2
"""A line may leave this much more unexplained than a span, which has two edges."""

METHOD = (
    "Batch means. The run is cut into equal blocks of time, each at least two service"
    " latencies long. Each block gives the log ratio of a group to the median of the"
    " other groups. The whole run is tested by Student's t of the mean with at most 8"
    " degrees of freedom; the error comes from the standard deviation of the blocks and"
    " their lag-1 autocorrelation; Bonferroni's correction covers groups and measures."
    " Slow spans are found by a scan over all spans of blocks with a pooled robust"
    " deviation, Student's t with at most 8 degrees of freedom, and Bonferroni's"
    " correction for groups and spans."
)
METHOD_ALONE = (
    "Mann-Whitney test of each group against the others, with Holm's correction for the"
    " number of groups. The run is too short for blocks of time, but its samples did"
    " not overlap."
)
ALONE = "Not tested: only one of them worked until the end."
SINGLE = "Not tested: there is only one, so there is nothing to compare."
TOO_SHORT = (
    f"Not tested: the time in which all worked is shorter than {FEWEST_BLOCKS} blocks"
    " of two service latencies."
)


@dataclass(slots=True, kw_only=True)
class Difference:
    """How the groups differ in one measure; one entry per group."""

    effects: FloatArray
    """Ratio to the median of the others over the run, less 1; NaN if not tested."""
    p: FloatArray
    """Probability of such a span if groups are equal, corrected; NaN: not tested."""
    whole_p: FloatArray
    """Probability of such an effect over the run if groups are equal, corrected for
    the number of groups."""
    method: str
    span_effects: FloatArray
    """The same ratio over the span of blocks in which it is clearest."""
    spans: IntArray
    """First block of that span and the one after its last, shape (group, 2)."""
    ratios: FloatArray
    """Log ratio to the median of the others, shape (group, block)."""

    @property
    def tested(self) -> bool:
        """Whether the run was long enough for a test."""
        return bool(np.isfinite(self.p).any())

    @property
    def beyond_noise(self) -> BoolArray:
        """Whether a group differs by more than noise."""
        return np.isfinite(self.p) & (np.nan_to_num(self.p, nan=1) < SIGNIFICANCE)

    def spread_beyond_noise_pct(self, measures: int = 1) -> float:
        """Return the spread that noise does not explain: (max - min) / min, in percent.

        Args:
            measures: number of measures that are tested together, each at its share
                of `SIGNIFICANCE`.
        """
        p = np.nan_to_num(self.whole_p, nan=1) * measures
        effects = np.where(p < SIGNIFICANCE, np.nan_to_num(self.effects), 0.0)
        ratios = np.append(effects + 1, 1.0)
        return float((ratios.max() - ratios.min()) / ratios.min() * 100)


def compare(cells: FloatArray, reference: BoolArray | None = None) -> Difference:
    """Return how the groups of `cells`, shape (group, block), differ.

    Cells of 0 or NaN are left out.

    Args:
        cells: values of a measure.
        reference: groups whose median each group is compared with; None: all others.
    """
    groups, blocks = cells.shape
    if groups < 2 or blocks < FEWEST_BLOCKS:
        return _untested(groups, SINGLE if groups < 2 else TOO_SHORT)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(cells)
    logs[~np.isfinite(logs)] = np.nan
    ratios = logs - _median_of_others(logs, reference)
    if np.isnan(ratios).all():
        return _untested(groups, ALONE)
    sigma = _deviation(ratios)
    score, spans = _clearest_spans(ratios, sigma)
    freedom = min(_MOST_FREEDOM, blocks - 2)
    tries = int(np.isfinite(score).sum()) * blocks * (blocks + 1) / 2
    p = np.minimum(1, 2 * stdtr(freedom, -score) * tries)
    return Difference(
        effects=np.exp(_means(ratios)) - 1,
        p=p,
        whole_p=_whole_p(ratios),
        method=METHOD,
        span_effects=np.exp(
            [
                _means(ratios[g : g + 1, a:b])[0] if b else np.nan
                for g, (a, b) in enumerate(spans.tolist())
            ]
        )
        - 1,
        spans=spans,
        ratios=ratios,
    )


def compare_alone(values: Sequence[FloatArray]) -> Difference:
    """Return how groups of independent values differ, by rank."""
    from scipy.stats import mannwhitneyu  # takes a second, which few commands need

    difference = _untested(len(values), METHOD_ALONE)
    p = np.full(len(values), np.nan)
    for group, own in enumerate(values):
        rest = [v for other, v in enumerate(values) if other != group and len(v)]
        others = np.concatenate(rest) if rest else np.array([])
        if min(len(own), len(others)) < _FEWEST_ALONE:
            continue
        difference.effects[group] = float(np.mean(own) / np.mean(others)) - 1
        p[group] = float(mannwhitneyu(own, others).pvalue)
    difference.p = difference.whole_p = holm(p)
    difference.span_effects = difference.effects
    return difference


def _untested(groups: int, method: str) -> Difference:
    return Difference(
        effects=np.full(groups, np.nan),
        p=np.full(groups, np.nan),
        whole_p=np.full(groups, np.nan),
        method=method,
        span_effects=np.full(groups, np.nan),
        spans=np.zeros((groups, 2), np.int64),
        ratios=np.full((groups, 0), np.nan),
    )


def _whole_p(ratios: FloatArray) -> FloatArray:
    """Return the probability of each group's mean ratio if groups are equal, corrected.

    The error is the standard deviation, not a robust one: a single long step makes one
    block stand out, and it makes the error as large as itself.
    """
    scores, freedoms = np.full(len(ratios), np.nan), np.ones(len(ratios))
    for group, row in enumerate(ratios):
        own = row[~np.isnan(row)]
        if len(own) < FEWEST_BLOCKS:
            continue
        error, freedom = error_of_mean(own)
        error = max(error, _LEAST_DEVIATION / len(own) ** 0.5)
        scores[group] = abs(own.mean()) / error
        freedoms[group] = min(_MOST_FREEDOM, freedom)
    p = 2 * stdtr(freedoms, -scores)
    # With two groups each is the mirror image of the other: that is one test.
    tests = int(np.isfinite(p).sum()) if len(ratios) > 2 else 1
    corrected: FloatArray = np.minimum(1, p * tests)
    return corrected


def _deviation(ratios: FloatArray) -> float:
    """Return the robust deviation of one cell about the median of its group."""
    about = ratios - _nanmedian(ratios.T)[:, None]
    return max(_LEAST_DEVIATION, 1.4826 * float(np.nanmedian(np.abs(about))))


def _clearest_spans(ratios: FloatArray, sigma: float) -> tuple[FloatArray, IntArray]:
    """Return each group's greatest |mean| sqrt(n) / sigma over spans, and that span."""
    groups, blocks = ratios.shape
    known = ~np.isnan(ratios)
    sums = np.pad(np.nancumsum(ratios, axis=1), ((0, 0), (1, 0)))
    counts = np.pad(np.cumsum(known, axis=1), ((0, 0), (1, 0)))
    best, spans = np.full(groups, np.nan), np.zeros((groups, 2), np.int64)
    for begin in range(blocks):
        for end in range(begin + _FEWEST_IN_SPAN, blocks + 1):
            number = counts[:, end] - counts[:, begin]
            total = sums[:, end] - sums[:, begin]
            enough = number >= _FEWEST_IN_SPAN
            score = np.abs(total) / np.sqrt(np.maximum(number, 1)) / sigma
            better = enough & ~(score <= best)
            best[better] = score[better]
            spans[better] = begin, end
    return best, spans


def _means(ratios: FloatArray) -> FloatArray:
    known = ~np.isnan(ratios).all(axis=1)
    means = np.full(len(ratios), np.nan)
    means[known] = np.nanmean(ratios[known], axis=1)
    return means


def holm(p: FloatArray) -> FloatArray:
    """Return probabilities with Holm's correction; NaN stays NaN and is not counted.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65-70.
    """
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    factors = len(known) - np.arange(len(known))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(factors * p[order]))
    return adjusted


def mean_interval(values: FloatArray, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of the mean of correlated values (t distribution)."""
    error, freedom = error_of_mean(values)
    half = float(stdtrit(freedom, 0.5 + confidence / 2)) * error
    return float(values.mean()) - half, float(values.mean()) + half


def error_of_mean(values: FloatArray) -> tuple[float, float]:
    """Return the standard error of the mean and its degrees of freedom.

    The number of independent values is n (1 - r) / (1 + r) for lag-1 autocorrelation r.
    """
    centered = values - values.mean()
    variance = float((centered**2).sum())
    r = float((centered[1:] * centered[:-1]).sum()) / variance if variance else 0.0
    r = min(max(r, 0.0), 0.9)
    effective = max(3.0, len(values) * (1 - r) / (1 + r))
    return float(values.std(ddof=1)) / effective**0.5, effective - 1


def _median_of_others(
    logs: FloatArray, reference: BoolArray | None = None
) -> FloatArray:
    """Return, for each group and block, the median over the other groups.

    With many groups the median of all groups is as good and far cheaper.

    Args:
        logs: shape (group, block).
        reference: groups whose median is taken; None: all.
    """
    if reference is not None:
        middle = _nanmedian(logs[reference])
        return np.broadcast_to(middle, logs.shape)
    if len(logs) > 64:
        return np.broadcast_to(_nanmedian(logs), logs.shape)
    return np.array([_nanmedian(np.delete(logs, g, axis=0)) for g in range(len(logs))])


def is_drift(ratios: FloatArray, first: int, after: int) -> bool:
    """Return whether a group became slower little by little, not at once.

    A straight line explains its log ratios about as well as one span does, its slope is
    beyond noise, and at the begin of the run it is a third of what it is at the end.

    Args:
        ratios: log ratio to the others by block, NaN where unknown.
        first: first block of the clearest span.
        after: the block after its last.
    """
    known = ~np.isnan(ratios)
    own = ratios[known]
    if len(own) < FEWEST_BLOCKS:
        return False
    x = np.linspace(0, 1, len(ratios))[known]
    slope, start = np.polyfit(x, own, 1)
    rest = own - start - slope * x
    power = float(((x - x.mean()) ** 2).sum())
    error, freedom = error_of_mean(rest)
    t = abs(slope) * power**0.5 / max(error * len(own) ** 0.5, _LEAST_DEVIATION)
    inside = ((np.arange(len(ratios)) >= first) & (np.arange(len(ratios)) < after))[
        known
    ]
    step = sum(
        float(((part - part.mean()) ** 2).sum())
        for part in (own[inside], own[~inside])
        if len(part)
    )
    return bool(
        float((rest**2).sum()) <= _SIMPLER * step
        and 2 * stdtr(min(_MOST_FREEDOM, freedom), -t) < SIGNIFICANCE
        and abs(start) < abs(start + slope) / 3
    )


def _nanmedian(values: FloatArray) -> FloatArray:
    known = ~np.isnan(values).all(axis=0)
    medians = np.full(values.shape[1], np.nan)
    medians[known] = np.nanmedian(values[:, known], axis=0)
    return medians
