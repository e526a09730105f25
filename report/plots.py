"""Plots of a run as SVG text that suits a light and a dark page."""

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from report.run import Run, service_ms

_INK = "#7d8590"
_COLOURS = ("#3b82c4", "#d97706", "#2f9e6e", "#b4538f", "#8b6fd1", "#b08d2e")
_DRAWN = 1500
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "run",
    "font.size": 9,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "text.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def timeline(run: Run) -> str:
    """Return each sample as a line from dispatch to completion, by replica."""
    done = [s for s in run.completed if s.dispatched_ns and s.completed_ns]
    step = max(1, len(done) // _DRAWN)
    begin = min((s.issued_ns for s in run.samples), default=0)
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(8, 3.2))
        axes = canvas.subplots()
        for place, record in enumerate(run.replicas):
            own = sorted(
                (s for s in done[::step] if s.replica == record.replica),
                key=lambda s: s.dispatched_ns or 0,
            )
            axes.hlines(
                [s.seq for s in own],
                [((s.dispatched_ns or 0) - begin) / 1e9 for s in own],
                [((s.completed_ns or 0) - begin) / 1e9 for s in own],
                colors=_COLOURS[place % len(_COLOURS)],
                linewidth=1.2,
                label=f"replica {record.replica}",
            )
        axes.set_xlabel("seconds since the first issue")
        axes.set_ylabel("sample (seq)")
        _legend(axes)
        return _svg(canvas, "Each sample from dispatch to completion, by replica")


def service_ecdf(run: Run) -> str:
    """Return the cumulative distribution of service latency, by replica."""
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(8, 2.8))
        axes = canvas.subplots()
        for place, record in enumerate(run.replicas):
            own = service_ms([s for s in run.completed if s.replica == record.replica])
            if len(own):
                axes.ecdf(
                    own / 1000,
                    color=_COLOURS[place % len(_COLOURS)],
                    label=f"replica {record.replica}",
                )
        axes.set_xlabel("service latency (dispatch to completion), seconds")
        axes.set_ylabel("share of samples")
        _legend(axes)
        return _svg(canvas, "Cumulative distribution of service latency, by replica")


def _legend(axes: Axes) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if 0 < len(handles) <= len(_COLOURS):
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles))


def _svg(canvas: Canvas, label: str) -> str:
    buffer = io.StringIO()
    canvas.savefig(
        buffer,
        format="svg",
        bbox_inches="tight",
        transparent=True,
        metadata={"Date": None, "Creator": None},
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
