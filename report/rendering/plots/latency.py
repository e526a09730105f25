"""Latencies: their distribution, over time, by prompt, and their parts."""

import numpy as np

from report.reading.run import Run
from report.reading.samples import FloatArray
from report.rendering.plots.canvas import (
    COLOURS,
    INK,
    Plot,
    ecdf,
    legend,
    lines,
    panels,
    thinned,
)
from report.sections.latency import PARTS, parts_of_life
from report.statistics.numbers import MS, known


def distribution_plot(run: Run, marked: list[str]) -> Plot | None:
    """Return cumulative distributions per node, with the limits in force."""
    kinds: list[tuple[str, str, float | None]] = [
        ("service latency", "service_ns", None)
    ]
    if run.streaming:
        effective = run.settings.effective
        server = run.settings.loadgen_scenario == "Server"
        kinds += [
            ("TTFT", "ttft_ns", effective.get("ttft_latency") if server else None),
            ("TPOT", "tpot_ns", effective.get("tpot_latency") if server else None),
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
                    color=line.colour,
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
            title="Distribution of latency per node",
            caption="For each latency, the share of samples that took no longer"
            + ("; dashed: the limit, where it is near." if run.streaming else "."),
            canvas=canvas,
        )


def scatter_plot(run: Run, marked: list[str]) -> Plot | None:
    """Return service latency against time and against the prompt's length."""
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
                    color=line.colour,
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
            title="Service latency against time and prompt length",
            caption=f"Each dot is one sample{_of(len(shown.seq), len(done))}.",
            canvas=canvas,
        )


def _of(shown: int, count: int) -> str:
    return "" if shown == count else f", {shown:,} of {count:,} drawn at random"


def life_plot(run: Run) -> Plot | None:
    """Return the mean parts of a sample's life, one bar a node."""
    nodes = run.nodes if len(run.nodes) <= 16 else []
    bars = {node: _parts(run, node) for node in nodes}
    parts = list(dict.fromkeys(name for own in bars.values() for name in own))
    parts = [p for p in parts if not (run.offline and p == "wait for dispatch")]
    if not parts:
        return None
    with panels(height=1.3 + 0.32 * len(nodes)) as (canvas, (axes,)):
        left = np.zeros(len(nodes))
        for part in parts:
            widths = np.array([bars[node].get(part, 0.0) for node in nodes])
            colour = COLOURS[PARTS.index(part) % len(COLOURS)]
            axes.barh(
                range(len(nodes)),
                widths,
                left=left,
                height=0.6,
                color=colour,
                label=part,
            )
            left += widths
        axes.set_yticks(range(len(nodes)), nodes)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("ms, mean over completed samples")
        legend(axes)
        return Plot(
            name="life",
            section="latency",
            title="Where a sample's time goes",
            caption="Mean of each part, in order"
            + (
                "; the wait for dispatch is left out, as Offline issues all at once."
                if run.offline
                else "."
            ),
            canvas=canvas,
        )


def _parts(run: Run, node: str) -> dict[str, float]:
    parts = parts_of_life(run, run.by_node[node])
    told: dict[str, FloatArray] = {name: known(v) for name, v in parts.items()}
    return {n: max(0.0, float(v.mean())) / MS for n, v in told.items() if len(v)}
