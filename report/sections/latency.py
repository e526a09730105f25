"""The latency section: latency per node, its stages, its limits and its outliers."""

from dataclasses import dataclass, field

import numpy as np

from base.percentiles import loadgen_percentile
from report.figures import Column, Section, Table, figure, table
from report.reading.run import Run
from report.reading.samples import FloatArray, Samples
from report.sections.outliers import outliers
from report.statistics.breakdown import (
    DISPATCH_WAIT,
    STAGES,
    issue_delay,
    latency_breakdown,
    logged_extreme,
    logged_percentile,
)
from report.statistics.limits import Limit, limits
from report.statistics.numbers import MS, known, mean, percentile, ratio, rounded

_NEAR = 0.15
_CONSISTENCY = (("good", 0.9), ("moderate", 0.6))
"""Least share of samples near the mean, by word."""
_PERCENTILES = (50, 90, 95, 99, 99.9)
_ORDER = "as in LoadGen: element floor(n x percentile) in order"
_FROM_ISSUE = " from issue"
_KINDS = (
    "service: dispatch to completion; latency: scheduled time to completion, from"
    " LoadGen's trace; TTFT: scheduled time to first token, from LoadGen's trace; TPOT:"
    " (completion - first token) / (output tokens - 1); latency from issue, TTFT from"
    " issue: without the trace, less the issue delay, which LoadGen includes"
)


def latency(run: Run) -> Section:
    """Return latencies per node, outliers, the stages of latency, and the limits."""
    means = [mean(own.service_ns, MS) for own in run.by_node.values()]
    node_means = [value for value in means if value is not None]
    return {
        "loadgen": _loadgen(run),
        "sample_weighted_mean": figure(
            mean(run.done.service_ns, MS),
            "ms",
            "mean service latency of all completed samples",
        ),
        "mean_of_node_means": figure(
            rounded(np.mean(node_means)) if node_means else None,
            "ms",
            "mean of the nodes' means; differs if nodes completed unequal numbers",
        ),
        "limits": table(_LIMITS, limits(run)),
        "nodes": table(_NODES, _node_rows(run)),
        "breakdown": _breakdown(run),
        "outliers": outliers(run),
    }


@dataclass(slots=True)
class _Latencies:
    """Known latencies of one kind and one node."""

    node: str
    kind: str
    own: Samples
    values: FloatArray
    """In ns, one per sample; NaN where unknown."""
    known_ms: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.known_ms = known(self.values) / MS


def _near_mean(values: FloatArray) -> int:
    """Return the number of values within 15% of their mean."""
    mean = values.mean()
    return int((np.abs(values - mean) <= _NEAR * mean).sum())


def _consistency(share: float) -> str:
    return next((word for word, least in _CONSISTENCY if share >= least), "poor")


def _node_percentile(percent: float) -> Column[_Latencies]:
    return Column(
        f"p{percent:g}",
        "ms",
        _ORDER,
        lambda one: rounded(loadgen_percentile(one.known_ms, percent / 100)),
    )


_NODES: list[Column[_Latencies]] = [
    Column("node", "", "host", lambda one: one.node),
    Column("kind", "", _KINDS, lambda one: one.kind),
    Column(
        "samples",
        "samples",
        "completed samples with a known value",
        lambda one: len(one.known_ms),
    ),
    Column("min", "ms", "of these samples", lambda one: rounded(one.known_ms.min())),
    Column("mean", "ms", "of these samples", lambda one: rounded(one.known_ms.mean())),
    *(_node_percentile(percent) for percent in _PERCENTILES),
    Column("max", "ms", "of these samples", lambda one: rounded(one.known_ms.max())),
    Column(
        "std",
        "ms",
        "standard deviation of these samples",
        lambda one: rounded(one.known_ms.std(ddof=1)) if len(one.known_ms) > 1 else 0.0,
    ),
    Column(
        "within 15%",
        "%",
        "share of these samples within 15% of the mean",
        lambda one: ratio(100.0 * _near_mean(one.known_ms), len(one.known_ms)),
    ),
    Column(
        "consistency",
        "",
        "good: 90% or more of the samples within 15% of the mean; moderate: 60%; else"
        " poor",
        lambda one: _consistency(_near_mean(one.known_ms) / len(one.known_ms)),
    ),
    Column(
        "min at",
        "seq",
        "sequence number of the fastest sample",
        lambda one: int(one.own.seq[np.nanargmin(one.values)]),
        "fastest sample",
    ),
    Column(
        "max at",
        "seq",
        "sequence number of the slowest sample",
        lambda one: int(one.own.seq[np.nanargmax(one.values)]),
        "slowest sample",
    ),
]


def _node_rows(run: Run) -> list[_Latencies]:
    return [
        one
        for node, own in run.by_node.items()
        for kind, values in _kinds(run, own)
        if len((one := _Latencies(node, kind, own, values)).known_ms)
    ]


def _kinds(run: Run, own: Samples) -> list[tuple[str, FloatArray]]:
    kinds = [("service", own.service_ns)]
    if run.streaming:
        delay = issue_delay(run, own) if run.trace is not None else 0.0
        clock = "" if run.trace is not None else _FROM_ISSUE
        kinds += [
            (f"latency{clock}", own.latency_ns + delay),
            (f"TTFT{clock}", own.ttft_ns + delay),
            ("TPOT", own.tpot_ns),
        ]
    return kinds


def _loadgen(run: Run) -> Table:
    """Return the latencies of LoadGen's summary."""

    def extreme(name: str) -> Column[str]:
        return Column(
            name,
            "ms",
            "of all samples",
            lambda kind: _ms(logged_extreme(run, kind, name)),
        )

    def ordered(percent: float) -> Column[str]:
        return Column(
            f"p{percent:g}",
            "ms",
            _ORDER,
            lambda kind: _ms(logged_percentile(run, kind, percent / 100)),
        )

    columns = [
        Column[str](
            "kind",
            "",
            "as in LoadGen: latency and TTFT begin at the scheduled time; TPOT is"
            " (latency - TTFT) / (output tokens - 1)",
            lambda kind: kind,
        ),
        extreme("min"),
        extreme("mean"),
        *(ordered(percent) for percent in _PERCENTILES),
        extreme("max"),
    ]
    kinds = ("latency", "TTFT", "TPOT")
    logged = [kind for kind in kinds if any(c.value(kind) for c in columns[1:])]
    return table(columns, logged)


@dataclass(slots=True)
class _Stage:
    """One stage of the latency of a node's samples."""

    node: str
    name: str
    values: FloatArray
    """Known values, in ns."""
    whole: float
    """Sum of the means of all stages that count, in ns."""
    counts: bool
    """Whether it counts into the shares."""


_STAGES: list[Column[_Stage]] = [
    Column("node", "", "host", lambda one: one.node),
    Column("stage", "", "stage of a sample's latency", lambda one: one.name),
    Column("mean", "ms", "of completed samples", lambda one: mean(one.values, MS)),
    Column("p50", "ms", _ORDER, lambda one: percentile(one.values, 50, MS)),
    Column("p99", "ms", _ORDER, lambda one: percentile(one.values, 99, MS)),
    Column(
        "share",
        "%",
        "of the sum of the means; Offline: without the wait for dispatch",
        lambda one: (
            ratio(100 * float(one.values.mean()), one.whole) if one.counts else None
        ),
    ),
    Column("meaning", "", "begin and end of the stage", lambda one: STAGES[one.name]),
]


def _breakdown(run: Run) -> Table:
    rows: list[_Stage] = []
    for node, own in run.by_node.items():
        stages = {n: known(v) for n, v in latency_breakdown(run, own).items()}
        # Offline issues all samples at once, so the wait is the length of the run.
        left_out = {DISPATCH_WAIT} if run.offline else set[str]()
        whole = sum(
            float(values.mean())
            for name, values in stages.items()
            if len(values) and name not in left_out
        )
        rows += [
            _Stage(node, name, values, whole, name not in left_out)
            for name, values in stages.items()
            if len(values)
        ]
    return table(_STAGES, rows)


_LIMITS: list[Column[Limit]] = [
    Column("limit", "", "latency that is limited", lambda one: one.name),
    Column("percentile", "%", "percentile that is judged", lambda one: one.percentile),
    Column(
        "value",
        "ms",
        "as logged by LoadGen; else from the issue, with the same order of samples",
        lambda one: _ms(one.value_ns),
    ),
    Column("allowed", "ms", "limit of this run", lambda one: _ms(one.allowed_ns)),
    Column(
        "headroom", "%", "(allowed - value) / allowed", lambda one: one.headroom_pct
    ),
    Column(
        "over",
        "samples",
        "samples above the limit",
        lambda one: one.over,
        "over the limit",
    ),
]


def _ms(value: float | None) -> float | None:
    return None if value is None else rounded(value / MS)
