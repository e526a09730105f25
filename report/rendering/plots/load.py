"""Batches, KV cache, clocks and power over time."""

import numpy as np
from matplotlib.axes import Axes

from report.reading.run import Run
from report.reading.samples import FloatArray
from report.reading.telemetry import Series
from report.rendering.plots.canvas import COLOURS, Plot, legend, panels

_BINS = 120


def load_plot(run: Run) -> Plot | None:
    """Return running and waiting samples and the KV cache over time."""
    engines = run.measured.engines
    if len(engines.t_ns) < 4:
        return None
    with panels(2) as (canvas, (left, right)):
        for place, (name, label) in enumerate(
            (("running", "running"), ("waiting", "waiting in the engine"))
        ):
            _band(left, run, engines, engines.values[name], COLOURS[place], label)
        left.set(xlabel="seconds since the first issue", ylabel="samples per replica")
        left.set_ylim(bottom=0)
        legend(left)
        cache = 100 * engines.values["kv_used"]
        if (~np.isnan(cache)).any():
            _band(right, run, engines, cache, COLOURS[2], "KV cache in use")
            right.set_ylim(0, 102)
            right.set(xlabel="seconds since the first issue", ylabel="KV cache, %")
        else:
            right.set_axis_off()
        return Plot(
            name="load",
            section="resources",
            title="Batch and KV cache over time",
            caption="Line: mean over replicas; band: least to most of them.",
            canvas=canvas,
        )


def device_plot(run: Run) -> Plot | None:
    """Return clocks and power over time; None where devices do not tell."""
    devices = run.measured.devices
    told = [
        (name, label)
        for name, label in (
            ("sm_clock_mhz", "SM clock, MHz"),
            ("power_w", "power, W per device"),
            ("utilization_pct", "utilization, %"),
        )
        if (~np.isnan(devices.values[name])).sum() > 4
    ][:2]
    if not told:
        return None
    with panels(len(told)) as (canvas, axes):
        for panel, (name, label) in zip(axes, told, strict=True):
            _band(panel, run, devices, devices.values[name], COLOURS[0], label)
            panel.set(xlabel="seconds since the first issue", ylabel=label)
            panel.set_ylim(bottom=0)
        return Plot(
            name="devices",
            section="resources",
            title="Devices over time",
            caption="Line: mean over devices; band: least to most of them.",
            canvas=canvas,
        )


def _band(
    axes: Axes, run: Run, series: Series, values: FloatArray, colour: str, label: str
) -> None:
    known = ~np.isnan(values)
    seconds = (series.t_ns[known] - run.begin_ns) / 1e9
    bins = int(min(_BINS, max(4.0, run.wall_s / 2)))
    place = np.minimum((seconds / max(run.wall_s, 1e-9) * bins).astype(int), bins - 1)
    own = values[known]
    counts = np.bincount(place, minlength=bins)
    filled = counts > 0
    means = np.bincount(place, own, bins)[filled] / counts[filled]
    low, high = np.full(bins, np.inf), np.full(bins, -np.inf)
    np.minimum.at(low, place, own)
    np.maximum.at(high, place, own)
    middle = (np.arange(bins)[filled] + 0.5) * run.wall_s / bins
    axes.plot(middle, means, color=colour, label=label)
    axes.fill_between(middle, low[filled], high[filled], color=colour, alpha=0.18, lw=0)
