"""Plots of latency: its distribution, over time, by prompt length, and its stages."""

import numpy as np

from record.latency_limits import latency_limits
from report.reading.run import Run
from report.reading.samples import FloatArray
from report.rendering.plots.canvas import (
    INK,
    STAGE_COLORS,
    Plot,
    ecdf,
    legend,
    lines,
    panels,
    thinned,
)
from report.statistics.breakdown import DISPATCH_WAIT, STAGES, latency_breakdown
from report.statistics.numbers import MS, known

_MOST_BARS = 16


def distribution_plot(run: Run, marked: list[str]) -> Plot | None:
    """Return the cumulative distribution of each node, with the limits that apply."""
    kinds: list[tuple[str, str, float | None]] = [
        ("service latency", "service_ns", None)
    ]
    if run.streaming:
        limits = latency_limits(run.settings)
        kinds += [
            ("TTFT", "ttft_ns", limits.ttft_ns),
            ("TPOT", "tpot_ns", limits.tpot_ns),
        ]
    if not len(run.done):
        return None
    with panels(len(kinds)) as (canvas, axes):
        for panel, (label, name, limit) in zip(axes, kinds, strict=True):
            highest = 0.0
            for line, own in zip(
                lines(run.nodes, marked), run.by_node.values(), strict=True
            ):
                values = known(getattr(own, name)) / MS
                if not len(values):
                    continue
                highest = max(highest, float(values.max()))
                panel.plot(
                    *ecdf(values),
                    color=line.color,
                    lw=0.7 if line.faint else 1.6,
                    alpha=0.35 if line.faint else 1,
                    label=None if line.faint else line.label,
                )
            if limit and limit / MS < 3 * highest:
                panel.axvline(limit / MS, color=INK, ls="--", lw=1)
                panel.annotate(
                    "limit", (limit / MS, 0.02), ha="right", fontsize=8, rotation=90
                )
            panel.set(xlabel=f"{label}, ms", ylim=(0, 1.02))
        axes[0].set_ylabel("share of samples")
        legend(axes[0])
        return Plot(
            name="distribution",
            section="latency",
            title="Distribution of latency by node",
            caption="Share of samples whose latency is at most the value on the axis."
            + (
                " Dashed: the limit, if it is within three times the highest latency."
                if run.streaming
                else ""
            ),
            canvas=canvas,
        )


def scatter_plot(run: Run, marked: list[str]) -> Plot | None:
    """Return service latency over time and over prompt length."""
    done = run.done
    if not len(done):
        return None
    shown = done.where(thinned(len(done)))
    service = shown.service_ns / MS
    seconds = (shown.completed - run.begin_ns) / 1e9
    nodes = np.array([run.node_of.get(int(r), "") for r in shown.replica])
    with panels(2) as (canvas, (left, right)):
        for line, node in zip(lines(run.nodes, marked), run.nodes, strict=True):
            mine = nodes == node
            for panel, across in ((left, seconds), (right, shown.prompt_tokens)):
                panel.plot(
                    across[mine],
                    service[mine],
                    "o",
                    ms=2.5,
                    mew=0,
                    alpha=0.5,
                    color=line.color,
                    label=None if line.faint else node,
                )
        left.set(
            xlabel="completed, seconds since the first issue",
            ylabel="service latency, ms",
        )
        right.set(xlabel="prompt tokens")
        for panel in (left, right):
            panel.set_ylim(bottom=0)
        legend(left, markers=3)
        return Plot(
            name="scatter",
            section="latency",
            title="Service latency over time and by prompt length",
            caption=f"Each dot is one sample{_of(len(shown.seq), len(done))}.",
            canvas=canvas,
        )


def _of(shown: int, count: int) -> str:
    return "" if shown == count else f"; {shown:,} of {count:,} samples at random"


def breakdown_plot(run: Run) -> Plot | None:
    """Return the mean stages of latency, one bar per node; None for many nodes."""
    nodes = run.nodes if len(run.nodes) <= _MOST_BARS else []
    bars = {node: _means(run, node) for node in nodes}
    # Offline issues all samples at once, so the wait is the length of the run.
    left_out = {DISPATCH_WAIT} if run.offline else set[str]()
    stages = [
        stage
        for stage in STAGES
        if stage not in left_out and any(stage in own for own in bars.values())
    ]
    if not stages:
        return None
    with panels(height=1.2 + 0.34 * len(nodes)) as (canvas, (axes,)):
        left = np.zeros(len(nodes))
        for stage in stages:
            widths = np.array([bars[node].get(stage, 0.0) for node in nodes])
            axes.barh(
                range(len(nodes)),
                widths,
                left=left,
                height=0.6,
                color=STAGE_COLORS[stage],
                label=stage,
            )
            left += widths
        axes.set_yticks(range(len(nodes)), nodes)
        axes.set_xlim(0, max(1e-9, float(left.max())))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("ms, mean over completed samples")
        legend(axes)
        return Plot(
            name="breakdown",
            section="latency",
            title="Stages of latency",
            caption="Mean of each stage, in their order."
            + (
                " Without the wait for dispatch: Offline issues all samples at once."
                if run.offline
                else ""
            ),
            canvas=canvas,
        )


def _means(run: Run, node: str) -> dict[str, float]:
    stages = latency_breakdown(run, run.by_node[node])
    values: dict[str, FloatArray] = {name: known(v) for name, v in stages.items()}
    return {n: max(0.0, float(v.mean())) / MS for n, v in values.items() if len(v)}
