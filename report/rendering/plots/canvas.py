"""How plots look, and how they become SVG and PNG."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from report.reading.samples import FloatArray, IntArray
from report.statistics.breakdown import DISPATCH_WAIT, ISSUE_DELAY

if TYPE_CHECKING:
    # Imported where something is drawn: it takes two seconds.
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INK = "#6b7480"
COLORS = (
    "#3b82c4",
    "#d97706",
    "#2f9e6e",
    "#b4538f",
    "#8b6fd1",
    "#b08d2e",
    "#c2504f",
)
STAGE_COLORS = {
    "queue": COLORS[0],
    "prefill": COLORS[1],
    "decode": COLORS[2],
    "rest in the replica": COLORS[3],
    "outside the replica": COLORS[4],
    DISPATCH_WAIT: COLORS[5],
    ISSUE_DELAY: COLORS[6],
}
"""Color of each stage of latency, the same in every plot."""
DRAWN = 3000
"""Highest number of points of a scatter plot or a curve."""
_DPI = 150
_WIDTH = 11.0
"""Inches; at the page's full width the text is as large as that of tables."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    # A "$" in the name of a node or a model does not start a formula.
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.2,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@dataclass(slots=True, kw_only=True)
class Plot:
    """A drawn plot."""

    name: str
    """Name of its files."""
    section: str
    """Key of the report that it belongs to."""
    title: str
    caption: str
    """What it shows, also for readers who cannot see it."""
    canvas: "Canvas"

    def svg(self, themed: bool = False) -> str:
        """Return it as SVG.

        Args:
            themed: use the colors of the page: CSS variables `--s1` to `--s7`, and
                the page's own color for text.
        """
        buffer = io.StringIO()
        salt = {"svg.hashsalt": self.name}
        with _style(salt):
            self.canvas.savefig(
                buffer,
                format="svg",
                bbox_inches="tight",
                transparent=True,
                metadata={"Date": None, "Creator": None},
            )
        text = buffer.getvalue()
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        if not themed:
            return text
        text = text[text.index("<svg") :]
        text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
        # Two plots of one page must not share an id.
        text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{self.name}-", text)
        for number, color in enumerate(COLORS, 1):
            text = text.replace(color, f"var(--s{number})")
        text = text.replace(INK, "currentColor")
        label = f"{self.title}. {self.caption}".replace('"', "'").replace("&", "and")
        return text.replace(
            "<svg", f'<svg role="img" aria-label="{label.replace("<", "below ")}"', 1
        )

    def png(self) -> bytes:
        """Return it as PNG on white."""
        buffer = io.BytesIO()
        with _style():
            self.canvas.savefig(
                buffer,
                format="png",
                dpi=_DPI,
                bbox_inches="tight",
                facecolor="white",
                metadata={"Software": None},
            )
        return buffer.getvalue()


@contextmanager
def panels(
    count: int = 1, height: float = 3.2, widths: Sequence[float] | None = None
) -> Iterator[tuple["Canvas", list["Axes"]]]:
    """Yield an empty canvas with `count` panels side by side."""
    with _style():
        canvas = _empty(_WIDTH, height)
        axes = canvas.subplots(1, count, squeeze=False, width_ratios=widths)
        for panel in axes[0]:
            panel.xaxis.set_major_formatter(_tick)
            panel.yaxis.set_major_formatter(_tick)
        yield canvas, list(axes[0])


@contextmanager
def stacked(count: int, height: float) -> Iterator[tuple["Canvas", list["Axes"]]]:
    """Yield an empty canvas with `count` panels, one below the other, on one x axis."""
    with _style():
        canvas = _empty(8.4, 0.6 + height * count)
        axes = canvas.subplots(count, 1, squeeze=False, sharex=True)[:, 0]
        for panel in axes:
            panel.xaxis.set_major_formatter(_tick)
            panel.yaxis.set_major_formatter(_tick)
        yield canvas, list(axes)


def _style(more: dict[Any, Any] | None = None) -> AbstractContextManager[None]:
    import matplotlib as mpl

    return mpl.rc_context({**_STYLE, **(more or {})})


def _empty(width: float, height: float) -> "Canvas":
    from matplotlib.figure import Figure as Canvas

    return Canvas(figsize=(width, height), layout="constrained")


def _tick(value: float, _index: int | None) -> str:
    """Return a number at an axis in the form that tables use."""
    return f"{value:,.10g}"


@dataclass(slots=True, kw_only=True)
class Line:
    """How one of several groups is drawn."""

    label: str
    color: str
    faint: bool
    """Drawn thin, without a name, behind the others."""


def lines(names: Sequence[str], marked: Sequence[str]) -> list[Line]:
    """Return how groups are drawn: each in its color, or the marked ones in front.

    Args:
        names: names of the groups.
        marked: names that a finding mentions.
    """
    if len(names) <= len(COLORS):
        return [
            Line(label=name, color=color, faint=False)
            for name, color in zip(names, COLORS, strict=False)
        ]
    shown = [name for name in names if name in marked][: len(COLORS) - 1]
    colors = dict(zip(shown, COLORS[1:], strict=False))
    return [
        Line(label=name, color=colors.get(name, COLORS[0]), faint=name not in shown)
        for name in names
    ]


def legend(axes: "Axes", markers: float = 1.0) -> None:
    """Draw the legend above a panel; `markers` scales its markers."""
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        axes.legend(
            unique.values(),
            unique.keys(),
            loc="lower left",
            bbox_to_anchor=(0, 1),
            markerscale=markers,
            ncols=min(6, len(unique)),
        )


def ecdf(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the cumulative distribution of `values`, with at most `DRAWN` points."""
    ordered = np.sort(values[~np.isnan(values)])
    index = np.unique(np.linspace(0, len(ordered) - 1, DRAWN).astype(int))
    return ordered[index], (index + 1) / max(1, len(ordered))


def thinned(count: int) -> IntArray:
    """Return the indices of at most `DRAWN` of `count` points, with a fixed seed."""
    if count <= DRAWN:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, DRAWN, replace=False))
