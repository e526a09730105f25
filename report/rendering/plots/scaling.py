"""Plot of throughput and efficiency by number of replicas."""

import numpy as np

from report.rendering.plots.canvas import COLORS, INK, Plot, legend, panels
from report.statistics.sizes import SizeScaling
from report.statistics.usl import Fit, law


def scaling_plot(rows: list[SizeScaling], fitted: Fit | None) -> Plot | None:
    """Return throughput and efficiency by size; None for a single size."""
    own = [row for row in rows if row.metric.main and row.own is not None]
    if len(own) < 2:
        return None
    sizes = [row.size for row in own]
    with panels(2, widths=(3, 2)) as (canvas, (left, right)):
        for row in own:
            assert row.own is not None
            values = row.own.values
            left.plot(
                [row.size] * len(values), values, "o", ms=4, alpha=0.5, color=COLORS[0]
            )
        left.plot(
            sizes,
            [row.own.value for row in own if row.own],
            "-o",
            color=COLORS[0],
            ms=6,
            label="measured (mean and runs)",
        )
        if own[0].base is not None:
            left.plot(
                sizes,
                [row.theoretical or 0.0 for row in own],
                "--",
                color=INK,
                label="linear (replicas x single)",
            )
        if fitted is not None:
            curve = np.linspace(1, max(sizes) * 1.5, 100)
            best = np.array([fitted.rate.value, fitted.sigma.value, fitted.kappa.value])
            left.plot(
                curve, law(curve, best), color=COLORS[1], label="fitted law (USL)"
            )
        left.set(xlabel="replicas", ylabel=own[0].metric.unit, xticks=sizes)
        left.set_ylim(bottom=0)
        legend(left)
        known = [row for row in own if row.efficiency is not None]
        middle = [100 * row.efficiency.value for row in known if row.efficiency]
        ends = [
            [
                100 * (row.efficiency.value - row.efficiency.low)
                for row in known
                if row.efficiency
            ],
            [
                100 * (row.efficiency.high - row.efficiency.value)
                for row in known
                if row.efficiency
            ],
        ]
        right.axhline(100, color=INK, ls="--", lw=1)
        if known:
            right.errorbar(
                range(len(known)),
                middle,
                yerr=np.nan_to_num(np.array(ends)),
                fmt="o",
                capsize=4,
                color=COLORS[0],
            )
            tops = middle + [
                100 * row.efficiency.high for row in known if row.efficiency
            ]
            right.set_ylim(0, max(110.0, float(np.nanmax(tops)) * 1.05))
        right.set_xticks(range(len(known)), [str(row.size) for row in known])
        right.set_xlim(-0.5, max(0.5, len(known) - 0.5))
        right.set(xlabel="replicas", ylabel="efficiency, % (95% interval)")
        return Plot(
            name="scaling",
            section="scaling",
            title="Throughput and efficiency by number of replicas",
            caption="Dots: runs. Line: their mean. Dashed: replicas times the"
            " measured single replica. Right: efficiency with its 95% interval.",
            canvas=canvas,
        )
