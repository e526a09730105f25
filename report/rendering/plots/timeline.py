"""What arrived, what waited, and what the devices did, one below the other."""

from typing import TYPE_CHECKING

import numpy as np

from report.rendering.plots.canvas import COLORS, INK, Plot, legend, stacked
from report.rendering.timeline_panels import Curve, Span, panels, spans
from report.timeline.analysis import Analysis
from report.timeline.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST_BINS = 4
NAME = "timeline"


def timeline_plot(analysis: Analysis) -> Plot | None:
    """Return the series of a run on one time axis, with its episodes marked."""
    series = analysis.series
    if series.bins < _FEWEST_BINS:
        return None
    shown, marked = panels(analysis), spans(analysis)
    with stacked(len(shown), height=1.15) as (canvas, axes):
        for axis, panel in zip(axes, shown, strict=True):
            _draw(axis, series, panel.label, panel.curves)
            if panel.limit is not None:
                axis.axhline(panel.limit, color=INK, lw=0.8, ls=":")
            _mark(axis, marked)
        _name(axes[0], marked)
        axes[-1].set_xlabel("seconds since the first arrival")
        axes[-1].set_xlim(0, analysis.inputs.wall_s)
        return Plot(
            name=NAME,
            section="timeline",
            title="The run over time",
            caption=_caption(analysis),
            canvas=canvas,
        )


def _draw(panel: "Axes", series: Series, label: str, curves: list[Curve]) -> None:
    middle = (series.edges[:-1] + series.edges[1:]) / 2
    for curve, colour in zip(curves, COLORS, strict=False):
        known = ~np.isnan(curve.values)
        # A single curve is named by the axis.
        name = curve.name if len(curves) > 1 or curve.name != "mean" else None
        panel.plot(middle[known], curve.values[known], color=colour, lw=1.1, label=name)
    panel.set_ylabel(label)
    values = np.concatenate([c.values[~np.isnan(c.values)] for c in curves])
    # Clocks and power move within a small part of their range.
    if values.min() > 0.6 * values.max():
        room = 0.1 * max(values.max() - values.min(), 0.01 * values.max())
        panel.set_ylim(values.min() - room, values.max() + room)
    else:
        panel.set_ylim(bottom=min(0.0, values.min()))
    legend(panel)


def _mark(panel: "Axes", marked: list[Span]) -> None:
    for one in marked:
        color, alpha = (COLORS[3], 0.13) if one.burst else (COLORS[1], 0.16)
        panel.axvspan(one.begin_s, one.end_s, color=color, alpha=alpha, lw=0)


def _name(panel: "Axes", marked: list[Span]) -> None:
    """Write what the marked spans are into the first panel."""
    top = panel.get_ylim()[1]
    for one in marked[:8]:
        panel.annotate(
            one.words,
            (one.begin_s, top),
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
        text += " Dotted line of the first panel: the rate when saturated."
    if analysis.inputs.tpot_limit_s is not None:
        text += " Dotted line of the time per token: the TPOT limit."
    if analysis.episodes or analysis.accounts:
        text += " Shaded: episodes, and bursts of arrivals in which requests were late."
    return text
