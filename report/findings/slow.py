"""Finds replicas and nodes that were slower than the others, and when."""

from dataclasses import dataclass

import numpy as np

from report.reading.run import Run
from report.reading.samples import FloatArray
from report.statistics.comparison import Comparison
from report.statistics.noise import Difference

LEAST = 0.05
"""Smallest slowdown that is a finding."""

_LEAST_OVERALL = 0.03
"""Smallest share of the run that a slow span may cost: one stalled step costs less."""

_FEWEST_BLOCKS = 3
"""Blocks of time in which it must show: one stalled step touches two at most."""
_COLD = 0.25
"""Slowdown at which two blocks are enough, if they are the first of the run: engines
that were not warm are far slower, and not for long."""

_OFFLINE = ("tokens_per_s",)
_STREAMING = ("service", "ttft", "tpot")
_MOST = 0.75
"""Share of a node's replicas that must be slow for the node to be called slow."""

_DISTURBED = 1.5
"""Times its own usual value from which a replica was slow in itself in a span."""
_USUAL = 0.25
"""Quantile over blocks of what is usual for a replica, the best being 0."""

WORDS = {
    "tokens_per_s": "output tokens/s",
    "service": "service latency",
    "ttft": "TTFT",
    "tpot": "TPOT",
}


@dataclass(slots=True, kw_only=True)
class Slow:
    """Replicas of one place that were slow over the same span of time."""

    place: str
    replicas: list[int]
    measure: str
    slowdown: float
    """Over the span: 0.1 is a tenth longer per unit of work, or a tenth later."""
    overall: float
    """The same, over the whole run."""
    p: float
    begin_s: float
    """Since the first issue."""
    end_s: float
    whole: bool
    """Whether it lasted for most of the run."""
    from_start: bool
    by_measure: dict[str, float]
    """Slowdown over the run by every measure that was looked at."""


def find_slow(run: Run, replicas: Comparison, nodes: Comparison) -> list[Slow]:
    """Return the slow places of a run, whole nodes before single replicas."""
    measures = _STREAMING if run.streaming else _OFFLINE
    by_replica = _slow(replicas, measures)
    by_node = _slow(nodes, measures) if len(nodes.members) > 1 else {}
    found, covered = [], set[int]()
    for group, slow in by_node.items():
        members = [r for r in nodes.members[group] if r not in nodes.gone]
        also = sum(r in _replicas(by_replica) for r in members)
        if len(members) > 1 and 0 < also < _MOST * len(members):
            continue
        found.append(slow)
        covered.update(members)
    for slow in by_replica.values():
        if not covered.intersection(slow.replicas):
            found.append(slow)
    return found


def _replicas(by_replica: dict[int, Slow]) -> set[int]:
    return {r for slow in by_replica.values() for r in slow.replicas}


def _slow(comparison: Comparison, measures: tuple[str, ...]) -> dict[int, Slow]:
    found: dict[int, Slow] = {}
    for measure in measures:
        difference = comparison.difference(measure)
        worse = _slowdown(measure, difference.span_effects)
        for group in np.flatnonzero(difference.beyond_noise & (worse >= LEAST)):
            slow = _describe(comparison, measure, difference, int(group))
            if slow.overall < _LEAST_OVERALL or not _lasts(difference, measure, group):
                continue
            if not slow.whole and all_were_slow(
                comparison.cells(measure), difference, measure, group
            ):
                continue
            # The share of the run that it cost decides which measure tells of it.
            known = found.get(int(group))
            if known is None or _weight(slow) > _weight(known):
                found[int(group)] = slow
    for group, slow in found.items():
        for measure in measures:
            effect = comparison.difference(measure).effects[group]
            slow.by_measure[measure] = float(_slowdown(measure, effect))
    return found


def _lasts(difference: Difference, measure: str, group: int) -> bool:
    """Whether it shows in enough blocks; where there are no blocks, it does."""
    first, after = difference.spans[group].tolist()
    ratios = difference.ratios[group, first:after]
    slower = _slowdown(measure, np.expm1(ratios))
    if first == 0 and int((slower >= _COLD).sum()) >= _FEWEST_BLOCKS - 1:
        return True
    return not after or int((slower >= LEAST).sum()) >= _FEWEST_BLOCKS


def all_were_slow(
    cells: FloatArray, difference: Difference, measure: str, group: int
) -> bool:
    """Whether most of the others were slow then too, against their own other times.

    After something that slowed all, queues drain at different times: who is last is
    chance.
    """
    first, after = difference.spans[group].tolist()
    if not after:
        return False
    times = np.delete(cells, group, axis=0)
    if measure == "tokens_per_s":
        with np.errstate(divide="ignore"):
            times = 1 / times
    times[~np.isfinite(times)] = np.nan
    known = times[~np.isnan(times).all(axis=1)]
    if not len(known):
        return False
    usual = np.nanquantile(known, _USUAL, axis=1)
    then = np.nan_to_num(known[:, first:after]).mean(axis=1)
    return float((then > _DISTURBED * usual).mean()) > 0.5


def _weight(slow: Slow) -> tuple[bool, float]:
    return slow.measure in ("service", "tokens_per_s"), slow.overall


def _describe(
    comparison: Comparison, measure: str, difference: Difference, group: int
) -> Slow:
    first, after = difference.spans[group].tolist()
    blocks, begin = comparison.blocks, comparison.run.begin_ns
    whole = not blocks.count or after - first >= 0.75 * blocks.count
    if blocks.count:
        span = [(blocks.edges[place] - begin) / 1e9 for place in (first, after)]
    else:
        span = [0.0, comparison.run.wall_s]
    return Slow(
        place=comparison.names[group],
        replicas=comparison.members[group],
        measure=measure,
        slowdown=float(_slowdown(measure, difference.span_effects[group])),
        overall=float(_slowdown(measure, difference.effects[group])),
        p=float(difference.p[group]),
        begin_s=float(span[0]),
        end_s=float(span[1]),
        whole=whole,
        from_start=first == 0,
        by_measure={},
    )


def _slowdown(measure: str, effect: np.ndarray | np.float64) -> np.ndarray:
    """Return how much longer the work took, from the ratio of the measure less 1."""
    values = np.asarray(effect, float)
    if measure == "tokens_per_s":
        return np.asarray(1 / np.maximum(1 + values, 1e-9) - 1)
    return values
