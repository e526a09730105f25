"""Finds nodes and replicas that were slower than the others, and when."""

from dataclasses import dataclass

import numpy as np

from report.reading.run import Run
from report.reading.samples import FloatArray
from report.statistics.comparison import GroupComparison, Level
from report.statistics.noise import Difference
from report.wording import capitalized

LEAST = 0.05
"""Smallest slowdown that is a finding."""

_LEAST_OVERALL = 0.03
"""Smallest cost over the whole run that is a finding; one stalled step costs less."""

_FEWEST_BLOCKS = 3
"""Smallest number of slow blocks; one stalled step is in two blocks at most."""
_COLD = 0.25
"""Slowdown from which two blocks at the start of the run are enough: engines that are
not warm are far slower, but only for a short time."""

_OFFLINE = ("tokens_per_s",)
_STREAMING = ("service", "ttft", "tpot")
_MOST = 0.75
"""Share of a node's replicas that are slow if the whole node is called slow."""

_DISTURBED = 1.5
"""Factor of its own usual time from which a replica is called disturbed."""
_USUAL = 0.25
"""Quantile over blocks that gives the usual time of a replica."""

MEASURES = {
    "tokens_per_s": "time per output token",
    "service": "service latency",
    "ttft": "TTFT",
    "tpot": "TPOT",
}


@dataclass(slots=True, kw_only=True)
class Slowdown:
    """A node or a replica that was slow over a span of time."""

    location: str
    """Name of the node, or `replica 3`."""
    level: Level
    replicas: list[int]
    measure: str
    in_span: float
    """Slowdown over the span; 0.1: 10% more time per unit of work."""
    overall: float
    """Slowdown over the whole run."""
    p: float
    """Probability of such a span if all were equally fast, corrected."""
    begin_s: float
    """Begin of the span, since the first issue."""
    end_s: float
    """End of the span, since the first issue."""
    whole: bool
    """Whether the span covers most of the run."""
    from_start: bool
    """Whether the span starts with the run."""
    by_measure: dict[str, float]
    """Slowdown over the whole run in each measure."""

    @property
    def name(self) -> str:
        """How a sentence begins with it: `Node n1`, `Replica 3`."""
        return (
            f"Node {self.location}"
            if self.level == "node"
            else (capitalized(self.location))
        )


def find_slowdowns(
    run: Run, replicas: GroupComparison, nodes: GroupComparison
) -> list[Slowdown]:
    """Return the slowdowns of a run; whole nodes precede single replicas."""
    measures = _STREAMING if run.streaming else _OFFLINE
    by_replica = _by_group(replicas, measures)
    by_node = _by_group(nodes, measures) if len(nodes.groups) > 1 else {}
    found, covered = [], set[int]()
    for group, slow in by_node.items():
        own = [r for r in nodes.groups[group] if r not in nodes.gone]
        also = sum(r in _replicas(by_replica) for r in own)
        if len(own) > 1 and 0 < also < _MOST * len(own):
            continue
        found.append(slow)
        covered.update(own)
    for slow in by_replica.values():
        if not covered.intersection(slow.replicas):
            found.append(slow)
    return found


def _replicas(by_replica: dict[int, Slowdown]) -> set[int]:
    return {r for slow in by_replica.values() for r in slow.replicas}


def _by_group(
    comparison: GroupComparison, measures: tuple[str, ...]
) -> dict[int, Slowdown]:
    found: dict[int, Slowdown] = {}
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
            # The measure with the highest cost over the run describes the slowdown.
            known = found.get(int(group))
            if known is None or _weight(slow) > _weight(known):
                found[int(group)] = slow
    for group, slow in found.items():
        for measure in measures:
            effect = comparison.difference(measure).effects[group]
            slow.by_measure[measure] = float(_slowdown(measure, effect))
    return found


def _lasts(difference: Difference, measure: str, group: int) -> bool:
    """Whether enough blocks are slow; True for a run without blocks."""
    first, after = difference.spans[group].tolist()
    ratios = difference.ratios[group, first:after]
    slower = _slowdown(measure, np.expm1(ratios))
    if first == 0 and int((slower >= _COLD).sum()) >= _FEWEST_BLOCKS - 1:
        return True
    return not after or int((slower >= LEAST).sum()) >= _FEWEST_BLOCKS


def all_were_slow(
    cells: FloatArray, difference: Difference, measure: str, group: int
) -> bool:
    """Whether most of the others were also slower in that span than they usually are.

    After an event that slows down all replicas, queues drain at different times, and it
    is chance which replica drains last.
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


def _weight(slow: Slowdown) -> tuple[bool, float]:
    return slow.measure in ("service", "tokens_per_s"), slow.overall


def _describe(
    comparison: GroupComparison, measure: str, difference: Difference, group: int
) -> Slowdown:
    first, after = difference.spans[group].tolist()
    blocks, begin = comparison.blocks, comparison.run.begin_ns
    whole = not blocks.count or after - first >= 0.75 * blocks.count
    if blocks.count:
        span = [(blocks.edges[edge] - begin) / 1e9 for edge in (first, after)]
    else:
        span = [0.0, comparison.run.wall_s]
    return Slowdown(
        location=comparison.names[group],
        level=comparison.level,
        replicas=comparison.groups[group],
        measure=measure,
        in_span=float(_slowdown(measure, difference.span_effects[group])),
        overall=float(_slowdown(measure, difference.effects[group])),
        p=float(difference.p[group]),
        begin_s=float(span[0]),
        end_s=float(span[1]),
        whole=whole,
        from_start=first == 0,
        by_measure={},
    )


def _slowdown(measure: str, effect: np.ndarray | np.float64) -> np.ndarray:
    """Return the additional time per unit of work, from a ratio of the measure - 1."""
    values = np.asarray(effect, float)
    if measure == "tokens_per_s":
        return np.asarray(1 / np.maximum(1 + values, 1e-9) - 1)
    return values
