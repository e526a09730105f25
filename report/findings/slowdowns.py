"""Finds nodes and replicas that were slower than the others, and when."""

from dataclasses import dataclass, replace

import numpy as np

from report.findings.slow_cost import slowdown_ratio
from report.reading.run import Run
from report.reading.samples import FloatArray
from report.statistics.comparison import GroupComparison, Level
from report.statistics.noise import SIGNIFICANCE, Difference, is_drift
from report.wording import capitalized, name_replicas

LEAST = 0.05
"""Smallest slowdown that is a finding."""

LEAST_OVERALL = 0.03
"""Smallest cost over the whole run that is a finding; one stalled step costs less."""

_FEWEST_BLOCKS = 3
"""Smallest number of slow blocks; one stalled step is in two blocks at most."""
_COLD = 0.25
"""Slowdown from which two blocks at the start of the run are enough: engines that are
not warm are far slower, but only for a short time."""

_OFFLINE = ("tokens_per_s",)
_STREAMING = ("service", "ttft", "tpot")
_MAIN = ("service", "tokens_per_s")
"""Measures that are compared with the fastest replicas if most were slow."""
_SHARED = 0.5
"""Share of the most affected replica's slowdown that each replica of a node shows if
the whole node is slow."""

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
    """A node, or one or more replicas, that were slow over a span of time."""

    where: list[str]
    """Name of the node, or `replica 3`."""
    level: Level
    replicas: list[int]
    measure: str
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
    drift: bool
    """Whether it grew from nothing over the run."""
    in_span: float
    """Slowdown over the span; 0.1: 10% more time per unit of work. Of a drift: over the
    last quarter of the run."""
    overall: float
    """Slowdown over the whole run."""
    by_measure: dict[str, float]
    """Slowdown over the whole run in each measure."""

    @property
    def name(self) -> str:
        """How a sentence begins with it: `Node n1`, `Replica 3`, `Replicas 3, 5`."""
        if self.level == "node":
            return f"Node {self.where[0]}"
        return capitalized(name_replicas(self.replicas))

    @property
    def single(self) -> bool:
        """Whether it is one node or one replica."""
        return len(self.where) == 1

    @property
    def its(self) -> str:
        """The possessive that goes with its name."""
        return "its" if self.single else "their"


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
        sharing = _sharing(replicas, slow, own)
        if sharing != own:
            # The healthy replicas of a node are not blamed with the slow ones. A slow
            # one may be too noisy to stand out alone.
            if not any(r in by_replica for r in own):
                found += [_only(slow, replica) for replica in sharing]
                covered.update(own)
            continue
        found.append(slow)
        covered.update(own)
    for replica, slow in by_replica.items():
        if replica not in covered:
            found.append(slow)
    return found


def _sharing(replicas: GroupComparison, slow: Slowdown, own: list[int]) -> list[int]:
    """Return the replicas of a slow node that share its slowdown."""
    if len(own) < 2 or not replicas.blocks.count:
        return own
    ratios = replicas.difference(slow.measure).ratios
    edges = (replicas.blocks.edges - replicas.run.begin_ns) / 1e9
    middle = (edges[1:] + edges[:-1]) / 2
    inside = (middle >= slow.begin_s) & (middle <= slow.end_s)
    if not inside.any():
        return own
    numbers = [group[0] for group in replicas.groups]
    effects: dict[int, float] = {}
    for replica in own:
        row = ratios[numbers.index(replica), inside]
        known = row[~np.isnan(row)]
        if not len(known):
            return own
        effects[replica] = float(slowdown_ratio(slow.measure, np.expm1(known.mean())))
    most = max(effects.values())
    return [replica for replica in own if effects[replica] >= _SHARED * most]


def _only(slow: Slowdown, replica: int) -> Slowdown:
    """Return the slowdown of a node as that of one of its replicas."""
    return replace(
        slow,
        where=[f"replica {replica}"],
        level="replica",
        replicas=[replica],
        by_measure=dict(slow.by_measure),
    )


def _by_group(
    comparison: GroupComparison, measures: tuple[str, ...]
) -> dict[int, Slowdown]:
    """Return the slowdown of each slow group, by its first replica or its index."""
    found: dict[int, tuple[float, Slowdown]] = {}
    for measure in measures:
        difference = _difference(comparison, measure)
        worse = slowdown_ratio(measure, difference.span_effects)
        overall = slowdown_ratio(measure, difference.effects)
        for group in np.flatnonzero(difference.beyond_noise & (worse >= LEAST)):
            if overall[group] < LEAST_OVERALL:
                continue
            if not _lasts(difference, measure, group):
                continue
            slow = _describe(comparison, measure, difference, int(group))
            slow.by_measure = dict.fromkeys(measures, float("nan"))
            slow.by_measure[measure] = slow.overall
            if not slow.whole and all_were_slow(
                comparison.cells(measure), difference, measure, group
            ):
                continue
            # The measure with the highest cost over the run describes the slowdown.
            weight = float(overall[group]) + (measure in _MAIN)
            known = found.get(int(group))
            if known is None or weight > known[0]:
                found[int(group)] = (weight, slow)
    return {
        group if comparison.level == "node" else comparison.groups[group][0]: slow
        for group, (_, slow) in found.items()
    }


def _difference(comparison: GroupComparison, measure: str) -> Difference:
    """Return how groups differ: from the others, or from the few that are faster.

    If most groups are slow, the median is slow too. Then those that are faster than it
    by `LEAST` or more, beyond noise, show how fast the others should be.
    """
    usual = comparison.difference(measure)
    if measure not in _MAIN or not usual.tested or len(comparison.groups) < 3:
        return usual
    faster = slowdown_ratio(measure, usual.effects) <= -LEAST / (1 + LEAST)
    fast = faster & (np.nan_to_num(usual.whole_p, nan=1.0) < SIGNIFICANCE)
    if not 0 < fast.sum() <= len(fast) / 2:
        return usual
    return comparison.difference_from(measure, fast)


def _lasts(difference: Difference, measure: str, group: int) -> bool:
    """Whether enough blocks are slow; True for a run without blocks."""
    first, after = difference.spans[group].tolist()
    ratios = difference.ratios[group, first:after]
    slower = slowdown_ratio(measure, np.expm1(ratios))
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
        where=[comparison.names[group]],
        level=comparison.level,
        replicas=comparison.groups[group],
        measure=measure,
        in_span=float(slowdown_ratio(measure, difference.span_effects[group])),
        overall=float(slowdown_ratio(measure, difference.effects[group])),
        p=float(difference.p[group]),
        begin_s=float(span[0]),
        end_s=float(span[1]),
        whole=whole,
        from_start=first == 0,
        drift=is_drift(difference.ratios[group], first, after),
        by_measure={},
    )
