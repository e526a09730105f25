"""The section "timeline" of report.json."""

from record.json_types import Json
from report.figures import Section, Table, figure, table
from report.numbers import rounded
from report.timeline.advice import rate_of
from report.timeline.analysis import Analysis
from report.timeline.changes import SIGNIFICANCE
from report.timeline.scan import ROUNDS
from report.timeline.sentences import (
    account_sentence,
    burst_sentence,
    cause_words,
    rate_sentence,
    where_words,
)
from report.timeline.series import FloatArray, make_series, mean_over, width_for

_ROWS = 30
_SIGNALS = {
    "arrivals": "arrivals",
    "prompts": "prompt length",
    "speed": "time per token",
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
            " episodes: the rate at these settings with a queue",
        ),
        "within_limits_per_s": figure(
            None if safe is None else rounded(safe.per_s, 4),
            "requests/s",
            "highest rate of Poisson arrivals that keeps the latency limits in front of"
            " the sustained rate (queue simulation)",
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
    limits = [account.limit for account in analysis.accounts]
    return table(
        [
            ("begin", "s", "after the first arrival"),
            ("end", "s", "when the cause was gone"),
            ("felt until", "s", "when the queue that it left was gone"),
            ("where", "", "hosts or replicas; all hosts: the whole run"),
            ("what changed", "", "see the finding"),
            ("shape", "", "a span, or a drift over the whole run"),
            ("shows in", "", "series that changed, the clearest first"),
            ("p", "", "chance of such a change in an even run; events: certain"),
            *((f"late {limit}", "requests", "that it explains") for limit in limits),
        ],
        [
            [
                rounded(one.begin_s),
                rounded(one.end_s),
                rounded(one.felt_until_s),
                where_words(one),
                cause_words(one),
                "drift" if one.drift else "span",
                ", ".join(_SIGNALS[name] for name in one.signals),
                rounded(one.p, 2),
                *(late.get((id(one), limit), 0) for limit in limits),
            ]
            for one in analysis.episodes
        ],
    )


def _late(analysis: Analysis) -> Table:
    rows: list[list[Json]] = []
    for account in analysis.accounts:
        for part in account.parts:
            what = {
                "burst": "burst of arrivals",
                "rest": "elsewhere",
                "episode": cause_words(part.episode) if part.episode else "",
            }[part.kind]
            rows.append(
                [
                    account.limit,
                    what,
                    rounded(part.begin_s, 4),
                    rounded(part.end_s, 4),
                    part.late,
                    rounded(100 * part.late / account.late, 3),
                    rounded(part.arrived_per_s, 4) if part.kind == "burst" else None,
                    rounded(part.idle_pct, 3) if part.kind == "burst" else None,
                    rounded(1e3 * part.without_s, 4),
                ]
            )
        rows.append(
            [
                account.limit,
                "all",
                None,
                None,
                account.late,
                100.0,
                None,
                None,
                rounded(1e3 * account.value_s, 4),
            ]
        )
    return table(
        [
            ("limit", "", "that was missed"),
            ("part", "", "what explains the late requests"),
            ("begin", "s", "after the first arrival"),
            ("end", "s", "when no request was late any more"),
            ("late", "requests", "the parts add up to all"),
            ("share", "%", "of all late requests"),
            ("arrived", "requests/s", "while the queue grew"),
            ("GPU idle", "%", "mean, while requests waited in the engine"),
            (
                "percentile without it",
                "ms",
                "at which the limit is judged, of all requests outside of the part;"
                " last row: of all",
            ),
        ],
        rows,
    )


def _series(analysis: Analysis) -> Table:
    """Return the series of the run in a few rows, for reading without the plot."""
    width = width_for(analysis.inputs.wall_s, _ROWS)
    series = make_series(analysis.inputs, width)
    columns: list[tuple[str, str, str, FloatArray]] = [
        ("arrivals", "requests/s", "", series.arrivals.sum(axis=0)),
        ("first tokens", "requests/s", "", series.first_tokens.sum(axis=0)),
        ("completions", "requests/s", "", series.completions.sum(axis=0)),
        (
            "no first token",
            "requests",
            "arrived and without a first token, mean",
            series.unanswered.sum(axis=0),
        ),
        ("in decode", "requests", "mean", series.decoding.sum(axis=0)),
        (
            "per token",
            "ms",
            "mean time per output token of the requests in decode",
            1e3 * mean_over(series.step_s),
        ),
        (
            "prompt",
            "tokens",
            "mean of the requests that arrived",
            mean_over(series.prompt_tokens),
        ),
        *(
            (name, unit, "mean over replicas", scale * mean_over(series.gauge(key)))
            for name, unit, key, scale in (
                ("GPU busy", "%", "utilization_pct", 1.0),
                ("SM clock", "MHz", "sm_clock_mhz", 1.0),
                ("power", "W", "power_w", 1.0),
                ("process", "% of a core", "process_cpu_pct", 1.0),
                ("KV used", "%", "kv_used", 100.0),
            )
        ),
    ]
    edges = series.edges
    return table(
        [
            ("time", "s", "begin of the row's time, after the first arrival"),
            *((name, unit, words) for name, unit, words, _ in columns),
        ],
        [
            [rounded(float(edges[place]))]
            + [rounded(float(values[place]), 4) for *_, values in columns]
            for place in range(series.bins)
        ],
    )
