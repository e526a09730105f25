"""The section "timeline" of report.json."""

from dataclasses import dataclass, replace

from report.figures import Column, Section, Table, figure, table
from report.reading.samples import FloatArray
from report.statistics.numbers import rounded
from report.timeline.advice import rate_of
from report.timeline.analysis import Analysis
from report.timeline.changes import SIGNIFICANCE
from report.timeline.episodes import Episode
from report.timeline.scan import ROUNDS
from report.timeline.sentences import (
    account_sentence,
    burst_sentence,
    cause_words,
    rate_sentence,
    where_words,
)
from report.timeline.series import Series, make_series, mean_over, width_for
from report.timeline.slo import Account, Part

_ROWS = 30
_SIGNALS = {
    "arrivals": "arrivals",
    "prompts": "prompt length",
    "speed": "time per token",
    "gap": "time between steps",
    "lost": "idle GPU while requests waited",
    "idle": "idle GPU",
    "clock": "SM clock",
    "outside": "time outside the replica",
    "kv": "KV cache",
    "events": "events",
}
METHOD = (
    "each series is compared with itself: circular binary segmentation (Olshen et al.,"
    f" Biostatistics 5, 2004), up to {ROUNDS} spans a series, Student's t with the"
    " bins' dependence, Bonferroni's correction for spans, replicas and series: a false"
    f" episode in at most {SIGNIFICANCE:.0%} of even runs"
)


def timeline(analysis: Analysis) -> Section:
    """Return what happened when: episodes, late requests, series."""
    capacity, safe = analysis.capacity, analysis.safe
    forecast = analysis.inputs.forecast_per_s
    section: Section = {
        "episodes_found": figure(
            len(analysis.episodes), "", "spans or drifts in which the run changed"
        ),
        "arrived_per_s": figure(
            rounded(rate_of(analysis.inputs)) if analysis.inputs.poisson else None,
            "requests/s",
            "arrivals from the first to the last",
        ),
        "sustained_per_s": figure(
            None if capacity is None else rounded(capacity.per_s, 4),
            "requests/s",
            "first tokens per second while requests waited for theirs, outside of"
            " episodes: the rate at these settings when saturated",
        ),
        "within_limits_per_s": figure(
            None if safe is None else rounded(safe.per_s, 4),
            "requests/s",
            "highest rate of Poisson arrivals that meets the latency limits, by a queue"
            " simulation with the rate when saturated",
        ),
        "forecast_per_s": figure(
            None if forecast is None else rounded(forecast[0], 4),
            "requests/s",
            "highest rate at which this run meets the limits, forecast from its steps"
            + (
                ""
                if forecast is None
                else f"; 90% interval {forecast[1]:.4g} to {forecast[2]:.4g}"
            ),
        ),
        "above_what_is_sustained": figure(
            rate_sentence(analysis) if analysis.accounts else None,
            "",
            "95% intervals by batch means",
        ),
        "gpu_in_bursts": figure(
            burst_sentence(analysis) or None,
            "",
            "100% less the GPU's utilization while requests waited in the engine",
        ),
    }
    for account in analysis.accounts:
        section[f"late_{account.limit.lower()}"] = figure(
            account_sentence(account),
            "",
            "each late request counts once: in an episode (until its queue was gone),"
            " in a burst of arrivals, or elsewhere; a percentile without a part is that"
            " of all requests outside of its time",
        )
    section["change_points"] = figure(METHOD, "", "change-point method")
    return section | {
        "episodes": _episodes(analysis),
        "late": _late(analysis),
        "series": _series(analysis),
    }


def _episodes(analysis: Analysis) -> Table:
    late = {
        (id(part.episode), account.limit): part.late
        for account in analysis.accounts
        for part in account.parts
    }

    def explained(limit: str) -> Column[Episode]:
        return Column(
            f"late {limit}",
            "requests",
            "late requests that it explains",
            lambda one: late.get((id(one), limit), 0),
        )

    of_limits = [explained(account.limit) for account in analysis.accounts]
    return table(_EPISODE_COLUMNS + of_limits, analysis.episodes)


_EPISODE_COLUMNS: list[Column[Episode]] = [
    Column("begin", "s", "after the first arrival", lambda one: rounded(one.begin_s)),
    Column("end", "s", "end of the cause", lambda one: rounded(one.end_s)),
    Column(
        "felt until",
        "s",
        "end of the queue that it left",
        lambda one: rounded(one.felt_until_s),
    ),
    Column("where", "", "hosts or replicas; all hosts: the whole run", where_words),
    Column("what changed", "", "see the finding", cause_words),
    Column(
        "shape",
        "",
        "a span, or a drift over the whole run",
        lambda one: "drift" if one.drift else "span",
    ),
    Column(
        "shows in",
        "",
        "series that changed, the clearest first",
        lambda one: ", ".join(_SIGNALS[name] for name in one.signals),
    ),
    Column(
        "p",
        "",
        "p-value: chance of such a change by noise alone; events are certain",
        lambda one: rounded(one.p, 2),
    ),
]


@dataclass(slots=True)
class _Late:
    """One part of the late requests of a limit; without a part: all of them."""

    account: Account
    part: Part | None

    @property
    def burst(self) -> Part | None:
        """The part, if it is a burst of arrivals."""
        return (
            self.part if self.part is not None and self.part.kind == "burst" else None
        )

    @property
    def what(self) -> str:
        """What explains the late requests."""
        if self.part is None:
            return "all"
        if self.part.kind == "episode":
            return cause_words(self.part.episode) if self.part.episode else ""
        return "burst of arrivals" if self.part.kind == "burst" else "elsewhere"


def _late(analysis: Analysis) -> Table:
    rows = [
        _Late(account, part)
        for account in analysis.accounts
        for part in (*account.parts, None)
    ]
    return table(_LATE_COLUMNS, rows)


_LATE_COLUMNS: list[Column[_Late]] = [
    Column("limit", "", "the limit that was missed", lambda r: r.account.limit),
    Column("part", "", "what explains the late requests", lambda r: r.what),
    Column(
        "begin",
        "s",
        "after the first arrival",
        lambda r: rounded(r.part.begin_s, 4) if r.part else None,
    ),
    Column(
        "end",
        "s",
        "when no request was late any more",
        lambda r: rounded(r.part.end_s, 4) if r.part else None,
    ),
    Column(
        "late",
        "requests",
        "the parts add up to all",
        lambda r: r.part.late if r.part else r.account.late,
    ),
    Column(
        "share",
        "%",
        "of all late requests",
        lambda r: rounded(100 * r.part.late / r.account.late, 3) if r.part else 100.0,
    ),
    Column(
        "arrived",
        "requests/s",
        "while the queue grew",
        lambda r: rounded(r.burst.arrived_per_s, 4) if r.burst else None,
    ),
    Column(
        "GPU idle",
        "%",
        "mean, while requests waited in the engine",
        lambda r: rounded(r.burst.idle_pct, 3) if r.burst else None,
    ),
    Column(
        "percentile without it",
        "ms",
        "at which the limit is judged, of all requests outside of the part;"
        " last row: of all",
        lambda r: rounded(1e3 * (r.part.without_s if r.part else r.account.value_s), 4),
    ),
]


def _series(analysis: Analysis) -> Table:
    """Return the series of the run in a few rows, for reading without the plot."""
    width = width_for(analysis.inputs.wall_s, _ROWS)
    # Steps are not among the columns, and ten million of them take seconds.
    series = make_series(replace(analysis.inputs, steps=None), width)
    begin = Column[int](
        "time",
        "s",
        "begin of the row's time, after the first arrival",
        lambda row: rounded(float(series.edges[row])),
    )
    return table([begin, *_series_columns(series)], range(series.bins))


def _series_columns(series: Series) -> list[Column[int]]:
    def column(name: str, unit: str, words: str, values: FloatArray) -> Column[int]:
        return Column(name, unit, words, lambda row: rounded(float(values[row]), 4))

    def gauge(name: str, unit: str, key: str, scale: float = 1.0) -> Column[int]:
        values = scale * mean_over(series.gauge(key))
        return column(name, unit, "mean over replicas", values)

    return [
        column(
            "arrivals",
            "requests/s",
            "requests that arrived",
            series.arrivals.sum(axis=0),
        ),
        column(
            "first tokens",
            "requests/s",
            "first tokens sent",
            series.first_tokens.sum(axis=0),
        ),
        column(
            "completions",
            "requests/s",
            "requests completed",
            series.completions.sum(axis=0),
        ),
        column(
            "no first token",
            "requests",
            "arrived and without a first token, mean",
            series.unanswered.sum(axis=0),
        ),
        column("in decode", "requests", "mean", series.decoding.sum(axis=0)),
        column(
            "per token",
            "ms",
            "mean time per output token of the requests in decode",
            1e3 * mean_over(series.step_s),
        ),
        column(
            "prompt",
            "tokens",
            "mean of the requests that arrived",
            mean_over(series.prompt_tokens),
        ),
        gauge("GPU busy", "%", "utilization_pct"),
        gauge("SM clock", "MHz", "sm_clock_mhz"),
        gauge("power", "W", "power_w"),
        gauge("process", "% of a core", "process_cpu_pct"),
        gauge("KV used", "%", "kv_used", 100.0),
    ]
