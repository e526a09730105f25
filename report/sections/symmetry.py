"""The symmetry section: the spread between nodes and between replicas."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from record.structs import Json
from report.figures import Column, Section, figure, table
from report.reading.run import Run
from report.sections.groups import (
    MEMORY,
    NODES,
    REPLICAS,
    SAMPLE_RATE,
    SERVICE_MEAN,
    TOKEN_RATE,
    TOKEN_SPEED,
    TPOT,
    TTFT,
    Group,
    groups,
)
from report.sections.side_by_side import SideBySide, side_by_side
from report.statistics.comparison import RATES, GroupComparison
from report.statistics.noise import SIGNIFICANCE
from report.statistics.numbers import ratio, rounded

_WORDS = ((1.0, "perfect"), (7.5, "good"), (20.0, "moderate"))
_SEVERE = 7.5
"""Spread beyond noise, in %, from which a status may be worse than good."""
NOT_TESTED = "not tested"
"""Status of a spread in a run that is too short to separate it from noise."""
BALANCED = "set by the balancer"
"""Status of rates under a rate of arrivals: a replica completes what it receives."""


@dataclass(frozen=True, slots=True)
class _Measure:
    """A row of the summary."""

    name: str
    column: Column[Group]
    """The column whose values are compared."""
    tested: str | None
    """Measure of `GroupComparison` that is tested; None: the value has no noise."""

    @property
    def unit(self) -> str:
        return self.column.unit


_MEASURES = (
    _Measure("throughput", SAMPLE_RATE, "samples_per_s"),
    _Measure("tokens/s", TOKEN_RATE, "tokens_per_s"),
    _Measure("tokens/s per sample", TOKEN_SPEED, "rate"),
    _Measure("service latency", SERVICE_MEAN, "service"),
    _Measure("TTFT", TTFT, "ttft"),
    _Measure("TPOT", TPOT, "tpot"),
    _Measure("memory", MEMORY, None),
)


@dataclass(slots=True, kw_only=True)
class Spread:
    """The spread of one measure between the nodes or the replicas of a run."""

    measure: str
    between: str
    """`nodes` or `replicas`."""
    least: float
    least_at: str
    most: float
    most_at: str
    unit: str
    spread: float | None
    beyond_noise: Json
    """True, False, `NOT_TESTED`, or None where there is no noise."""
    p: float | None
    status: str


_SUMMARY: list[Column[Spread]] = [
    Column("measure", "", "what is compared", lambda one: one.measure),
    Column("between", "", "nodes or replicas", lambda one: one.between),
    Column(
        "least",
        "",
        "lowest value, and where",
        lambda one: f"{one.least:,.5g} ({one.least_at})",
        "lowest",
    ),
    Column(
        "most",
        "",
        "highest value, and where",
        lambda one: f"{one.most:,.5g} ({one.most_at})",
        "highest",
    ),
    Column("unit", "", "unit of both", lambda one: one.unit),
    Column(
        "spread",
        "%",
        "(highest - lowest) / lowest; success rate: difference in points",
        lambda one: None if one.spread is None else round(one.spread, 1),
    ),
    Column(
        "beyond noise",
        "",
        "whether the difference is more than noise",
        lambda one: one.beyond_noise,
    ),
    Column(
        "p",
        "",
        "probability of such a difference between equal groups: the lowest over groups,"
        " corrected for the number of groups and measures",
        lambda one: one.p,
        "p (probability if equal)",
    ),
    Column(
        "status",
        "",
        "perfect < 1%, good < 7.5%, moderate < 20%, critical from 20%; worse than good"
        f" only for more than noise; {NOT_TESTED}: the run is too short to separate the"
        f" spread from noise; {BALANCED}: under a rate of arrivals a replica completes"
        " what it receives; success rate: critical if a sample was lost",
        lambda one: one.status,
    ),
]


def status(spread_pct: float, beyond_noise: bool) -> str:
    """Return the word for a spread; worse than "good" only for more than noise."""
    word = next((w for limit, w in _WORDS if spread_pct < limit), "critical")
    if word in ("moderate", "critical") and not beyond_noise:
        return "good"
    return word


def spread_pct(values: Sequence[float]) -> float | None:
    """Return (max - min) / min in percent; None without values or with a value of 0."""
    if not values or min(values) <= 0:
        return None
    return (max(values) - min(values)) / min(values) * 100


def symmetry(run: Run, nodes: GroupComparison, replicas: GroupComparison) -> Section:
    """Return the work of nodes and replicas, and the spread between them."""
    by_node, by_replica = groups(run, nodes), groups(run, replicas)
    of_nodes = spreads(nodes, by_node)
    return {
        "success_rate": figure(
            ratio(100.0 * len(run.done), run.issued),
            "%",
            "completed samples / samples that LoadGen issued",
        ),
        "success_status": figure(
            "critical" if len(run.done) < run.issued or not run.issued else "perfect",
            "",
            "critical if a sample was lost or is missing in the record",
        ),
        "method": figure(
            (replicas if run.size > len(run.nodes) else nodes).method,
            "",
            "how a difference is separated from noise; beyond noise:"
            f" p < {SIGNIFICANCE}",
        ),
        "summary": table(_SUMMARY, [*of_nodes, *spreads(replicas, by_replica)]),
        "side_by_side": side_by_side(
            [group.name for group in by_node],
            [_across(one, by_node) for one in of_nodes],
        ),
        "nodes": table(NODES, by_node),
        "replicas": table(REPLICAS, by_replica),
    }


def _across(spread: Spread, own: list[Group]) -> SideBySide:
    """Return a measure with its value on each node."""
    value = next(
        (one.column.value for one in _MEASURES if one.name == spread.measure),
        lambda group: group.success_pct,
    )
    return SideBySide(
        measure=spread.measure,
        unit=spread.unit,
        values=[value(group) for group in own],
        spread=spread.spread,
        status=spread.status,
    )


def spreads(comparison: GroupComparison, own: list[Group]) -> list[Spread]:
    """Return the spread of each measure between groups; none for a single group.

    Args:
        comparison: of the groups.
        own: the groups, in the order of the comparison.
    """
    if len(own) < 2:
        return []
    found = [_success(comparison, own)]
    server = comparison.run.settings.loadgen_scenario == "Server"
    tested = [
        one.tested
        for one in _MEASURES
        if one.tested
        and not (server and one.tested in RATES)
        and comparison.difference(one.tested).tested
    ]
    for one in _MEASURES:
        values = [(one.column.value(group), group.name) for group in own]
        known = [(value, name) for value, name in values if value is not None]
        if len(known) < 2:
            continue
        (least, least_at), (most, most_at) = min(known), max(known)
        spread = spread_pct([least, most])
        beyond, p, word = _judge(comparison, one.tested, tested, spread)
        found.append(
            Spread(
                measure=one.name,
                between=f"{comparison.level}s",
                least=least,
                least_at=least_at,
                most=most,
                most_at=most_at,
                unit=one.unit,
                spread=spread,
                beyond_noise=beyond,
                p=p,
                status=BALANCED if server and one.tested in RATES else word,
            )
        )
    return found


def _judge(
    comparison: GroupComparison,
    measure: str | None,
    tested: list[str],
    spread: float | None,
) -> tuple[Json, float | None, str]:
    """Return whether a spread is beyond noise, its p, and its status.

    Args:
        comparison: of the groups.
        measure: measure that is tested; None if the value has no noise.
        tested: all measures that are tested together.
        spread: in percent; None if it cannot be computed.
    """
    words = "not comparable" if spread is None else None
    if measure is None:
        return None, None, words or status(spread or 0.0, True)
    if measure not in tested:
        return NOT_TESTED, None, words or NOT_TESTED
    difference = comparison.difference(measure)
    shown = difference.spread_beyond_noise_pct(len(tested))
    p = min(1.0, float(np.nanmin(difference.whole_p)) * len(tested))
    return shown >= 1, rounded(p, 2), words or status(spread or 0.0, shown >= _SEVERE)


def _success(comparison: GroupComparison, own: list[Group]) -> Spread:
    known = [(g.success_pct, g.name) for g in own if g.success_pct is not None]
    (least, least_at), (most, most_at) = (
        (min(known), max(known)) if len(known) > 1 else ((0.0, "-"), (0.0, "-"))
    )
    run = comparison.run
    lost = run.issued > len(run.done) or any(value < 100 for value, _ in known)
    return Spread(
        measure="success rate",
        between=f"{comparison.level}s",
        least=least,
        least_at=least_at,
        most=most,
        most_at=most_at,
        unit="%",
        spread=most - least,
        beyond_noise=lost,
        p=None,
        status="critical" if lost else "perfect",
    )
