"""What the plots of the timeline show: panels on one time axis."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from report.reading.samples import FloatArray
from report.timeline.analysis import Analysis
from report.timeline.sentences import cause_words
from report.timeline.series import mean_over


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a panel."""

    name: str
    values: FloatArray
    """Shape (bin,)."""


@dataclass(slots=True, kw_only=True)
class Panel:
    """Measures that share a unit."""

    label: str
    """What it shows and its unit."""
    curves: list[Curve]
    """Sums or means over all replicas."""
    each: str
    """What is shown of a single replica."""
    rows: FloatArray
    """That measure, shape (replica, bin)."""
    limit: float | None = None
    """A value to compare with."""
    limit_name: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Something that happened for a while."""

    begin_s: float
    end_s: float
    words: str
    burst: bool = False
    """Whether it is a burst of arrivals, not an episode."""


@dataclass(slots=True)
class _Draft:
    label: str
    curves: list[Curve]
    each: str
    rows: FloatArray
    limit: tuple[float, str] | None = None


def panels(analysis: Analysis) -> list[Panel]:
    """Return the panels that have data."""
    found: list[Panel] = []
    for draft in _drafts(analysis):
        known = [c for c in draft.curves if not np.isnan(c.values).all()]
        if known:
            limit, name = draft.limit or (None, "")
            found.append(
                Panel(
                    label=draft.label,
                    curves=known,
                    each=draft.each,
                    rows=draft.rows,
                    limit=limit,
                    limit_name=name,
                )
            )
    return found


def _drafts(analysis: Analysis) -> Iterator[_Draft]:
    series, inputs = analysis.series, analysis.inputs
    offered = [
        Curve("arrivals", series.arrivals.sum(axis=0)),
        Curve("first tokens", series.first_tokens.sum(axis=0)),
        Curve("completions", series.completions.sum(axis=0)),
    ]
    if not inputs.streamed:
        del offered[1]
    capacity, tpot = analysis.capacity, inputs.tpot_limit_s
    yield _Draft(
        "requests/s",
        offered,
        "completions",
        series.completions,
        None if capacity is None else (capacity.per_s, "rate when saturated"),
    )
    yield _Draft(
        "requests",
        [
            Curve("no first token yet", series.unanswered.sum(axis=0)),
            Curve("in decode", series.decoding.sum(axis=0)),
        ],
        "no first token yet",
        series.unanswered,
    )
    yield _Draft(
        "ms per token",
        [Curve("mean of the requests in decode", 1e3 * mean_over(series.step_s))],
        "ms per token",
        1e3 * series.step_s,
        None if tpot is None else (1e3 * tpot, "TPOT limit"),
    )
    steps = series.steps
    if steps is not None:
        yield _Draft(
            "ms per step",
            [Curve("mean", 1e3 * mean_over(steps.step_s))],
            "ms per step",
            1e3 * steps.step_s,
        )
        yield _Draft(
            "steps, %",
            [
                Curve(
                    "longer than their tokens need",
                    100 * (np.exp(mean_over(steps.excess)) - 1),
                ),
                Curve("time between steps while work waited", mean_over(steps.gap_pct)),
            ],
            "longer than their tokens need",
            100 * (np.exp(steps.excess) - 1),
        )
    busy = series.gauge("utilization_pct")
    yield _Draft(
        "%",
        [
            Curve("GPU busy", mean_over(busy)),
            Curve(
                "replica's process, % of a core",
                mean_over(series.gauge("process_cpu_pct")),
            ),
            Curve("KV cache", 100 * mean_over(series.gauge("kv_used"))),
        ],
        "GPU busy",
        busy,
    )
    clock, power = series.gauge("sm_clock_mhz"), series.gauge("power_w")
    yield _Draft("SM clock, MHz", [Curve("mean", mean_over(clock))], "SM clock", clock)
    yield _Draft("power, W", [Curve("mean", mean_over(power))], "power", power)


def spans(analysis: Analysis) -> list[Span]:
    """Return the episodes, and the bursts of arrivals in which requests were late."""
    found = [
        Span(one.begin_s, one.end_s, cause_words(one))
        for one in analysis.episodes
        if not one.drift
    ]
    return found + [
        Span(part.begin_s, part.end_s, "burst", burst=True)
        for account in analysis.accounts[:1]
        for part in account.parts
        if part.kind == "burst"
    ]
