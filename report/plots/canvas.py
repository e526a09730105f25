"""How plots look, and how they become SVG and PNG."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from report.samples import FloatArray, IntArray

INK = "#6b7480"
COLOURS = ("#3b82c4", "#d97706", "#2f9e6e", "#b4538f", "#8b6fd1", "#b08d2e")
DRAWN = 3000
"""Points of a scatter plot or a curve, at most."""
_DPI = 150
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    # Names of nodes and models are text, also where they hold a "$".
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
    """What it shows, for readers who do not see it too."""
    canvas: Canvas

    def svg(self, themed: bool = False) -> str:
        """Return it as SVG.

        Args:
            themed: colours by CSS variables of the page that it stands in (`--s1` to
                `--s6`, text in the page's own colour).
        """
        buffer = io.StringIO()
        salt = {"svg.hashsalt": self.name, **_STYLE}
        with mpl.rc_context(salt):
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
        for place, colour in enumerate(COLOURS, 1):
            text = text.replace(colour, f"var(--s{place})")
        text = text.replace(INK, "currentColor")
        label = f"{self.title}. {self.caption}".replace('"', "'").replace("&", "and")
        return text.replace(
            "<svg", f'<svg role="img" aria-label="{label.replace("<", "below ")}"', 1
        )

    def png(self) -> bytes:
        """Return it as PNG on white."""
        buffer = io.BytesIO()
        with mpl.rc_context(_STYLE):
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
    count: int = 1, height: float = 2.9, widths: Sequence[float] | None = None
) -> Iterator[tuple[Canvas, list[Axes]]]:
    """Yield an empty canvas with `count` panels side by side."""
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(8.4, height), layout="constrained")
        axes = canvas.subplots(1, count, squeeze=False, width_ratios=widths)
        for panel in axes[0]:
            panel.xaxis.set_major_formatter(_tick)
            panel.yaxis.set_major_formatter(_tick)
        yield canvas, list(axes[0])


@contextmanager
def stacked(count: int, height: float) -> Iterator[tuple[Canvas, list[Axes]]]:
    """Yield an empty canvas with `count` panels, one below the other, on one x axis."""
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(8.4, 0.6 + height * count), layout="constrained")
        axes = canvas.subplots(count, 1, squeeze=False, sharex=True)[:, 0]
        for panel in axes:
            panel.xaxis.set_major_formatter(_tick)
            panel.yaxis.set_major_formatter(_tick)
        yield canvas, list(axes)


def _tick(value: float, _place: int | None) -> str:
    """Return a number at an axis as tables write it."""
    return f"{value:,.10g}"


@dataclass(slots=True, kw_only=True)
class Line:
    """How one of several groups is drawn."""

    label: str
    colour: str
    faint: bool
    """Drawn thin and without a name, behind the others."""


def lines(names: Sequence[str], marked: Sequence[str]) -> list[Line]:
    """Return how groups are drawn: each in its colour, or the marked above the rest.

    Args:
        names: of the groups.
        marked: those that a finding names.
    """
    if len(names) <= len(COLOURS):
        return [
            Line(label=name, colour=colour, faint=False)
            for name, colour in zip(names, COLOURS, strict=False)
        ]
    shown = [name for name in names if name in marked][: len(COLOURS) - 1]
    colours = dict(zip(shown, COLOURS[1:], strict=False))
    return [
        Line(label=name, colour=colours.get(name, COLOURS[0]), faint=name not in shown)
        for name in names
    ]


def legend(axes: Axes, markers: float = 1.0) -> None:
    """Name the groups of a panel, above it; `markers`: how much larger than drawn."""
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
    """Return the cumulative distribution of `values`, thinned out to `DRAWN` points."""
    ordered = np.sort(values[~np.isnan(values)])
    place = np.unique(np.linspace(0, len(ordered) - 1, DRAWN).astype(int))
    return ordered[place], (place + 1) / max(1, len(ordered))


def thinned(count: int) -> IntArray:
    """Return the places of at most `DRAWN` of so many points, at random but fixed."""
    if count <= DRAWN:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, DRAWN, replace=False))
