"""Plots of replicas compared with their peers, and of nodes over time."""

from typing import TYPE_CHECKING

import numpy as np

from report.reading.run import Run
from report.rendering.plots.canvas import INK, Plot, legend, lines, panels
from report.statistics.comparison import GroupComparison
from report.statistics.numbers import known

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def replica_plot(run: Run, marked: list[str]) -> Plot | None:
    """Return each replica's main measure in percent of the median."""
    if run.size < 2:
        return None
    values, label = _values(run)
    recorded = known(values)
    if len(recorded) < 2:
        return None
    ratios = 100 * values / np.median(recorded)
    with panels() as (canvas, (axes,)):
        axes.axhspan(100 / 1.075, 107.5, color=INK, alpha=0.12, lw=0)
        axes.axhline(100, color=INK, lw=1)
        numbers = np.array([r.replica for r in run.replicas])
        for line, node in zip(lines(run.nodes, marked), run.nodes, strict=True):
            mine = np.array([r.node == node for r in run.replicas])
            axes.plot(
                numbers[mine],
                ratios[mine],
                "o",
                ms=7 if run.size <= 32 else 3,
                color=line.color,
                alpha=0.5 if line.faint else 1,
                label=None if line.faint else node,
            )
        _name_far(axes, numbers, ratios)
        if run.size <= 16:
            axes.set_xticks(numbers)
        axes.set(xlabel="replica", ylabel=f"{label}, % of median")
        low, high = float(np.nanmin(ratios)), float(np.nanmax(ratios))
        room = max(10.0, 0.15 * (high - low))
        axes.set_ylim(min(85.0, low - room), max(115.0, high + room))
        legend(axes)
        return Plot(
            name="replicas",
            section="symmetry",
            title=f"{label[0].upper()}{label[1:]} of each replica",
            caption="In percent of the median replica. The band is a spread below 7.5%,"
            " which is good.",
            canvas=canvas,
        )


def _values(run: Run) -> tuple[np.ndarray, str]:
    parts = [run.by_replica[r.replica] for r in run.replicas]
    if run.streaming:
        service = [known(part.service_ns) for part in parts]
        means = [float(v.mean()) if len(v) else np.nan for v in service]
        return np.array(means), "mean service latency"
    wall = run.wall_s or 1.0
    rates = [float(part.output_tokens.sum()) / wall or np.nan for part in parts]
    return np.array(rates), "output tokens/s"


def _name_far(axes: "Axes", numbers: np.ndarray, ratios: np.ndarray) -> None:
    far = np.argsort(-np.abs(np.nan_to_num(ratios, nan=100) - 100))[:3]
    for index in far.tolist():
        if abs(ratios[index] - 100) > 7.5:
            axes.annotate(
                f"replica {numbers[index]}: {ratios[index]:.0f}%",
                (numbers[index], ratios[index]),
                textcoords="offset points",
                xytext=(7, -3),
                fontsize=8,
            )


def time_plot(run: Run, nodes: GroupComparison, marked: list[str]) -> Plot | None:
    """Return the main measure of each node over time; None if the run is short."""
    if not nodes.blocks.count:
        return None
    measure, label = (
        ("service", "mean service latency, ms")
        if run.streaming
        else ("tokens_per_s", "output tokens/s per replica")
    )
    cells = nodes.cells(measure) / (1e6 if run.streaming else 1)
    edges = nodes.blocks.edges
    middle = ((edges[1:] + edges[:-1]) / 2 - run.begin_ns) / 1e9
    with panels() as (canvas, (axes,)):
        for line, row in zip(lines(run.nodes, marked), cells, strict=True):
            axes.plot(
                middle,
                row,
                "-o",
                ms=0 if line.faint else 3.5,
                lw=0.7 if line.faint else 1.6,
                alpha=0.35 if line.faint else 1,
                color=line.color,
                label=None if line.faint else line.label,
            )
        axes.set(xlabel="seconds since the first issue", ylabel=label)
        axes.set_ylim(bottom=0)
        legend(axes)
        return Plot(
            name="time",
            section="symmetry",
            title=f"{'Service latency' if run.streaming else 'Throughput'} of each node"
            " over time",
            caption="Mean of each block of time in which nodes are compared.",
            canvas=canvas,
        )
