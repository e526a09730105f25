"""What a sweep found: the table, the CSV file and the plots."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from campaigns.output import Summary
from campaigns.sweep.points import label
from campaigns.sweep.record import Sweep
from record.campaign import Status
from record.folder import write_text
from report.rendering.plots.canvas import COLORS, INK, Plot, legend, panels

if TYPE_CHECKING:
    # Imported where something is drawn: it takes a second.
    from matplotlib.axes import Axes

RATE = "scenario.target_qps"
_SPEED = "tokens_per_s_per_device"
_LATENCIES = {"tpot_ms_p99": "TPOT p99, ms", "ttft_ms_p99": "TTFT p99, ms"}
_WHOLE = {"latency_ms_p99": "latency p99, ms"}
"""Where answers were not streamed."""
_COLUMNS = {
    "samples_per_s": "samples/s",
    _SPEED: "tokens/s per device",
    "ttft_ms_p50": "TTFT p50, ms",
    "ttft_ms_p99": "TTFT p99, ms",
    "tpot_ms_p50": "TPOT p50, ms",
    "tpot_ms_p99": "TPOT p99, ms",
}


@dataclass(slots=True, kw_only=True)
class PointResult:
    """What the runs of one point showed: means of those that measured something."""

    number: int
    """Its place in `Sweep.points`."""
    point: dict[str, str]
    """Values by option."""
    runs: int
    """Number of its runs."""
    valid: int
    """Runs that passed."""
    figures: dict[str, float]
    """By name; the unit is part of the name, as in `forecast.json`."""
    spread: float | None
    """(max - min) / min of tokens/s per device; None: of fewer than two runs."""
    reason: str
    """Why the first run that did not pass did not."""


def point_results(sweep: Sweep) -> list[PointResult]:
    """Return the result of each point that was run."""
    found = []
    for number, point in enumerate(sweep.points):
        runs = [run for run in sweep.runs if run.point == number]
        measured = [run.figures for run in runs if run.figures]
        if not runs:
            continue
        names = set.intersection(*map(set, measured)) if measured else set()
        speeds = [figures[_SPEED] for figures in measured]
        found.append(
            PointResult(
                number=number,
                point=point,
                runs=len(runs),
                valid=sum(run.valid for run in runs),
                figures={n: float(np.mean([f[n] for f in measured])) for n in names},
                spread=max(speeds) / min(speeds) - 1 if len(speeds) > 1 else None,
                reason=next((run.reason for run in runs if not run.valid), ""),
            )
        )
    return found


def pareto(results: Sequence[PointResult], latency: str) -> list[PointResult]:
    """Return the points than which none is both faster and of lower `latency`."""
    able = [r for r in results if latency in r.figures]
    able.sort(key=lambda r: (-r.figures[_SPEED], r.figures[latency]))
    front: list[PointResult] = []
    for result in able:
        if not front or result.figures[latency] < front[-1].figures[latency]:
            front.append(result)
    return front


def write_results(root: Path, sweep: Sweep) -> str:
    """Write sweep.md, sweep.csv and the plots into `root`; return the table.

    Raises:
        OSError: one cannot be written.
    """
    results = point_results(sweep)
    latencies = _latencies(results)
    table = _table(results, latencies)
    plots = [
        _plot("latency_throughput", "Latency against throughput", results, _curves),
        _plot(
            "pareto", "No point is both faster and of lower latency", results, _front
        ),
    ]
    names = []
    for plot in plots:
        if plot is not None:
            write_text(root / f"{plot.name}.svg", plot.svg())
            (root / f"{plot.name}.png").write_bytes(plot.png())
            names.append(f"![{plot.title}]({plot.name}.svg)\n")
    write_text(root / "sweep.csv", _csv(sweep))
    write_text(root / "sweep.md", "\n".join(["# Sweep", table, "", *names]))
    return table


def summary(root: Path, sweep: Sweep, status: Status) -> Summary:
    """Return the result for `--json`: a row for each point that was run."""
    results = point_results(sweep)
    names = sorted({name for result in results for name in result.figures})
    columns = {
        "point": "point",
        "runs": "runs",
        "passed": "passed",
        "spread": "(max - min) / min of tokens/s per device",
        "reason": "why a run did not pass",
        **{name: name for name in names},
    }
    return Summary(
        campaign="sweep",
        status=status,
        conclusion="",
        folder=str(root),
        report=str(root / "sweep.md"),
        columns=columns,
        rows=[
            {
                "point": {**result.point},
                "runs": result.runs,
                "passed": result.valid,
                "spread": result.spread,
                "reason": result.reason,
                **result.figures,
            }
            for result in results
        ],
    )


def _latencies(results: Sequence[PointResult]) -> dict[str, str]:
    streamed = any("ttft_ms_p99" in result.figures for result in results)
    return _LATENCIES if streamed else _WHOLE


def _table(results: Sequence[PointResult], latencies: dict[str, str]) -> str:
    columns = {
        key: name
        for key, name in {**_COLUMNS, **latencies}.items()
        if any(key in result.figures for result in results)
    }
    fronts = {
        name.partition(",")[0]: {r.number for r in pareto(results, key)}
        for key, name in latencies.items()
    }
    rows = [
        ["point", *columns.values(), "spread", "passed", "best at its latency"],
        ["---", *["---:"] * (len(columns) + 2), "---"],
    ]
    for result in sorted(results, key=lambda r: -r.figures.get(_SPEED, 0.0)):
        cells = [
            f"{result.figures[key]:,.1f}" if key in result.figures else ""
            for key in columns
        ]
        spread = "" if result.spread is None else f"{100 * result.spread:.1f}%"
        best = ", ".join(n for n, front in fronts.items() if result.number in front)
        passed = f"{result.valid} of {result.runs}"
        rows.append([label(result.point), *cells, spread, passed, best])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _csv(sweep: Sweep) -> str:
    options = sorted({key for point in sweep.points for key in point})
    figures = sorted({name for run in sweep.runs for name in run.figures})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    own = ["run", "repeat", "valid", "reason", "devices", "seconds"]
    writer.writerow(["point", *options, *own, *figures])
    for run in sweep.runs:
        point = sweep.points[run.point]
        values = [run.run, run.repeat, run.valid, run.reason, run.devices, run.seconds]
        writer.writerow(
            [
                run.point,
                *(point.get(key, "") for key in options),
                *values,
                *(run.figures.get(name, "") for name in figures),
            ]
        )
    return buffer.getvalue()


_Draw = Callable[["Axes", Sequence[PointResult], str], None]


def _plot(
    name: str, title: str, results: Sequence[PointResult], draw: _Draw
) -> Plot | None:
    latencies = _latencies(results)
    drawn = [r for r in results if r.figures]
    if not drawn:
        return None
    with panels(len(latencies), height=3.6) as (canvas, axes):
        for panel, (key, axis) in zip(axes, latencies.items(), strict=True):
            draw(panel, [r for r in drawn if key in r.figures], key)
            panel.set_xlabel("tokens/s per device")
            panel.set_ylabel(axis)
        legend(axes[0])
    return Plot(name=name, section="sweep", title=title, caption="", canvas=canvas)


def _curves(panel: "Axes", results: Sequence[PointResult], latency: str) -> None:
    """Draw one line for each setting, over its rates."""
    settings: dict[str, list[PointResult]] = {}
    for result in results:
        rest = {key: value for key, value in result.point.items() if key != RATE}
        settings.setdefault(label(rest) or "all", []).append(result)
    for number, (name, points) in enumerate(settings.items()):
        points.sort(key=lambda r: float(r.point.get(RATE, 0) or 0))
        panel.plot(
            [r.figures[_SPEED] for r in points],
            [r.figures[latency] for r in points],
            marker="o",
            color=COLORS[number % len(COLORS)],
            label=name,
        )
    panel.set_yscale("log")


def _front(panel: "Axes", results: Sequence[PointResult], latency: str) -> None:
    """Draw all points, and the line of those that are best."""
    for passed, color, name in (
        (True, COLORS[0], "passed"),
        (False, INK, "did not pass"),
    ):
        shown = [r for r in results if (r.valid == r.runs) is passed]
        panel.scatter(
            [r.figures[_SPEED] for r in shown],
            [r.figures[latency] for r in shown],
            color=color,
            s=18,
            label=name,
        )
    front = pareto(results, latency)
    xs, ys = ([r.figures[key] for r in front] for key in (_SPEED, latency))
    panel.plot(xs, ys, color=COLORS[1], label="best at its latency")
    for result, x, y in zip(front, xs, ys, strict=True):
        panel.annotate(
            label(result.point),
            (x, y),
            fontsize=7,
            xytext=(3, 3),
            textcoords="offset points",
        )
    panel.set_yscale("log")
