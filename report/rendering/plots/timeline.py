"""What arrived, what waited, and what the devices did, one below the other."""

from typing import TYPE_CHECKING

import numpy as np

from report.reading.samples import FloatArray
from report.rendering.plots.canvas import COLORS, INK, Plot, legend, stacked
from report.timeline.analysis import Analysis
from report.timeline.sentences import cause_words
from report.timeline.series import Series, mean_over

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST_BINS = 4
Curve = tuple[str, FloatArray]


def timeline_plot(analysis: Analysis) -> Plot | None:
    """Return the series of a run on one time axis, with its episodes marked."""
    series = analysis.series
    if series.bins < _FEWEST_BINS:
        return None
    panels = _panels(analysis)
    with stacked(len(panels), height=1.15) as (canvas, axes):
        for panel, (label, curves, limit) in zip(axes, panels, strict=True):
            _draw(panel, series, label, curves)
            if limit is not None:
                panel.axhline(limit, color=INK, lw=0.8, ls=":")
            _mark(panel, analysis)
        _name(axes[0], analysis)
        axes[-1].set_xlabel("seconds since the first arrival")
        axes[-1].set_xlim(0, analysis.inputs.wall_s)
        return Plot(
            name="timeline",
            section="timeline",
            title="The run over time",
            caption=_caption(analysis),
            canvas=canvas,
        )


def _panels(analysis: Analysis) -> list[tuple[str, list[Curve], float | None]]:
    """Return label, curves and limit of each panel that has data."""
    series, inputs = analysis.series, analysis.inputs
    offered = [
        ("arrivals", series.arrivals.sum(axis=0)),
        ("first tokens", series.first_tokens.sum(axis=0)),
        ("completions", series.completions.sum(axis=0)),
    ]
    limit = inputs.tpot_limit_s
    candidates: list[tuple[str, list[Curve], float | None]] = [
        (
            "requests/s",
            offered if inputs.streamed else [offered[0], offered[2]],
            analysis.capacity.per_s if analysis.capacity else None,
        ),
        (
            "requests",
            [
                ("no first token yet", series.unanswered.sum(axis=0)),
                ("in decode", series.decoding.sum(axis=0)),
            ],
            None,
        ),
        (
            "ms per token",
            [("mean of the requests in decode", 1e3 * mean_over(series.step_s))],
            None if limit is None else 1e3 * limit,
        ),
        (
            "%",
            [
                ("GPU busy", mean_over(series.gauge("utilization_pct"))),
                (
                    "replica's process, % of a core",
                    mean_over(series.gauge("process_cpu_pct")),
                ),
                ("KV cache", 100 * mean_over(series.gauge("kv_used"))),
            ],
            None,
        ),
        ("SM clock, MHz", [("", mean_over(series.gauge("sm_clock_mhz")))], None),
        ("power, W", [("", mean_over(series.gauge("power_w")))], None),
    ]
    found = []
    for label, curves, line in candidates:
        known = [(name, v) for name, v in curves if not np.isnan(v).all()]
        if known:
            found.append((label, known, line))
    return found


def _draw(panel: "Axes", series: Series, label: str, curves: list[Curve]) -> None:
    middle = (series.edges[:-1] + series.edges[1:]) / 2
    for (name, values), color in zip(curves, COLORS, strict=False):
        known = ~np.isnan(values)
        panel.plot(
            middle[known], values[known], color=color, lw=1.1, label=name or None
        )
    panel.set_ylabel(label)
    values = np.concatenate([v[~np.isnan(v)] for _, v in curves])
    # Clocks and power move within a small part of their range.
    if values.min() > 0.6 * values.max():
        room = 0.1 * max(values.max() - values.min(), 0.01 * values.max())
        panel.set_ylim(values.min() - room, values.max() + room)
    else:
        panel.set_ylim(bottom=0)
    legend(panel)


def _mark(panel: "Axes", analysis: Analysis) -> None:
    for one in analysis.episodes:
        if not one.drift:
            panel.axvspan(one.begin_s, one.end_s, color=COLORS[1], alpha=0.16, lw=0)
    for account in analysis.accounts[:1]:
        for part in account.parts:
            if part.kind == "burst":
                panel.axvspan(
                    part.begin_s, part.end_s, color=COLORS[3], alpha=0.13, lw=0
                )


def _name(panel: "Axes", analysis: Analysis) -> None:
    """Write what the marked spans are into the first panel."""
    top = panel.get_ylim()[1]
    spans = [
        (one.begin_s, cause_words(one)) for one in analysis.episodes if not one.drift
    ]
    spans += [
        (part.begin_s, "burst")
        for account in analysis.accounts[:1]
        for part in account.parts
        if part.kind == "burst"
    ]
    for begin, words in spans[:8]:
        panel.annotate(
            words,
            (begin, top),
            xytext=(2, -8),
            textcoords="offset points",
            fontsize=7.5,
        )


def _caption(analysis: Analysis) -> str:
    text = (
        f"Means over {analysis.series.width_s:g} s; counts and rates are sums over"
        " replicas, all else means."
    )
    if analysis.capacity:
        text += " Dotted line of the first panel: the rate sustained with a queue."
    if analysis.inputs.tpot_limit_s is not None:
        text += " Dotted line of the time per token: the TPOT limit."
    if analysis.episodes or analysis.accounts:
        text += " Shaded: episodes, and bursts of arrivals in which requests were late."
    return text
