"""Plots of batches, KV cache, clocks and power over time."""

from typing import TYPE_CHECKING

import numpy as np

from report.reading.run import Run
from report.reading.samples import FloatArray
from report.reading.telemetry import Readings
from report.rendering.plots.canvas import COLORS, STAGE_COLORS, Plot, legend, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 120
_FEWEST_READINGS = 5
_SECONDS = "seconds since the first issue"


def load_plot(run: Run) -> Plot | None:
    """Return running and waiting samples and the KV cache over time."""
    engines = run.measured.engines
    if len(engines.t_ns) < _FEWEST_READINGS:
        return None
    cache = 100 * engines.values["kv_used"]
    recorded = bool((~np.isnan(cache)).any())
    with panels(2 if recorded else 1) as (canvas, axes):
        for name, label, color in (
            ("running", "running", STAGE_COLORS["decode"]),
            ("waiting", "waiting in the engine", STAGE_COLORS["queue"]),
        ):
            _band(axes[0], run, engines, engines.values[name], color, label)
        axes[0].set(xlabel=_SECONDS, ylabel="samples per replica")
        axes[0].set_ylim(bottom=0)
        legend(axes[0])
        if recorded:
            _band(axes[1], run, engines, cache, COLORS[5], "KV cache in use")
            axes[1].set_ylim(0, 102)
            axes[1].set(xlabel=_SECONDS, ylabel="KV cache in use, %")
        return Plot(
            name="load",
            section="resources",
            title="Batch and KV cache over time" if recorded else "Batch over time",
            caption="Line: mean over replicas. Band: lowest to highest replica.",
            canvas=canvas,
        )


def device_plot(run: Run) -> Plot | None:
    """Return clocks and power over time; None if they were not recorded."""
    devices = run.measured.devices
    recorded = [
        (name, label)
        for name, label in (
            ("sm_clock_mhz", "SM clock, MHz"),
            ("power_w", "power, W per device"),
            ("utilization_pct", "utilization, %"),
        )
        if (~np.isnan(devices.values[name])).sum() >= _FEWEST_READINGS
    ][:2]
    if not recorded:
        return None
    with panels(len(recorded)) as (canvas, axes):
        for panel, (name, label) in zip(axes, recorded, strict=True):
            _band(panel, run, devices, devices.values[name], COLORS[0], label)
            panel.set(xlabel=_SECONDS, ylabel=label)
            panel.set_ylim(bottom=0)
        return Plot(
            name="devices",
            section="resources",
            title="Devices over time",
            caption="Line: mean over devices. Band: lowest to highest device.",
            canvas=canvas,
        )


def _band(
    axes: "Axes", run: Run, series: Readings, values: FloatArray, color: str, label: str
) -> None:
    known = ~np.isnan(values)
    seconds = (series.t_ns[known] - run.begin_ns) / 1e9
    bins = int(min(_BINS, max(4.0, run.wall_s / 2)))
    index = np.minimum((seconds / max(run.wall_s, 1e-9) * bins).astype(int), bins - 1)
    own = values[known]
    counts = np.bincount(index, minlength=bins)
    filled = counts > 0
    means = np.bincount(index, own, bins)[filled] / counts[filled]
    low, high = np.full(bins, np.inf), np.full(bins, -np.inf)
    np.minimum.at(low, index, own)
    np.maximum.at(high, index, own)
    middle = (np.arange(bins)[filled] + 0.5) * run.wall_s / bins
    axes.plot(middle, means, color=color, label=label)
    axes.fill_between(middle, low[filled], high[filled], color=color, alpha=0.18, lw=0)
