"""The panels of the Grafana dashboard, drawn from the answers of a Prometheus."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

_COLUMNS, _ROWS = 24, 47
"""Units of Grafana's grid: its columns, and the rows that this dashboard takes."""
_SCALE = 0.55


def draw_dashboard(
    panels: Sequence[Mapping[str, Any]],
    ask: Callable[[str], list[Any]],
    out: Path,
) -> list[str]:
    """Draw every panel at its place; return the titles of those without data.

    Args:
        panels: of `dashboard.json`.
        ask: returns the series of a query over the time that is to be shown, as
            Prometheus' `query_range` does.
        out: the picture to write.
    """
    figure = plt.figure(figsize=(_COLUMNS * _SCALE, _ROWS * _SCALE * 0.62))
    empty = []
    for panel in panels:
        grid = panel["gridPos"]
        axes = figure.add_axes(
            (
                (grid["x"] + 0.7) / _COLUMNS,
                1 - (grid["y"] + grid["h"] - 0.8) / _ROWS,
                (grid["w"] - 1.1) / _COLUMNS,
                (grid["h"] - 2.0) / _ROWS,
            )
        )
        axes.set_title(panel["title"], fontsize=8, loc="left")
        series = [
            (_name(target.get("legendFormat", ""), found["metric"]), found["values"])
            for target in panel["targets"]
            for found in ask(filled(target["expr"]))
        ]
        if not series:
            empty.append(panel["title"])
        _draw(axes, str(panel["type"]), series)
    figure.savefig(out, dpi=80)
    plt.close(figure)
    return empty


def filled(expression: str) -> str:
    """Return a query with Grafana's variables replaced."""
    text = re.sub(r"\$(node|replica)\b", ".*", expression)
    return text.replace("$__rate_interval", "8s")


def _draw(axes: Any, kind: str, series: Sequence[tuple[str, Sequence[Any]]]) -> None:
    if not series or kind != "timeseries":
        axes.axis("off")
        text = "no data"
        if series:
            name, values = series[0]
            text = name or f"{float(values[-1][1]):,.2f}"
        size = 8 if len(text) > 12 else 16
        axes.text(0.5, 0.4, text, ha="center", fontsize=size, wrap=True)
        return
    first = min(float(values[0][0]) for _, values in series)
    for name, values in series:
        times = [float(time) - first for time, _ in values]
        axes.plot(times, [float(value) for _, value in values], label=name, lw=1.2)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False, loc="lower left")


def _name(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)
