"""`index.html`: all runs of a folder with links, and a small chart for each setup."""

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2

from base.decode import printable
from base.files import data_path
from history.entry import RunEntry
from record.folder import write_text

NAME = "index.html"
_WIDTH, _HEIGHT, _EDGE = 300, 80, 6


@dataclass(slots=True, kw_only=True)
class _Point:
    x: float
    y: float
    failed: bool
    label: str


@dataclass(slots=True, kw_only=True)
class _Chart:
    title: str
    path: str
    points: list[_Point]
    low: float
    high: float
    last: float


def write_index(root: Path, runs: Sequence[RunEntry]) -> Path:
    """Write the page into `root`; return its path.

    Raises:
        OSError: it cannot be written.
    """
    source = data_path("history", f"templates/{NAME}").read_text()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    text = environment.from_string(source).render(
        runs=runs,
        charts=_charts(runs),
        links={run.path: _link(root, run) for run in runs},
        number=_number,
        printable=printable,
        written=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
    )
    write_text(root / NAME, text)
    return root / NAME


def _link(root: Path, run: RunEntry) -> str:
    """Return the relative address of the run's report, or of its folder."""
    report = "report.html" if (root / run.path / "report.html").exists() else ""
    # "./": a name with a colon would be read as a scheme.
    return f"./{quote(os.fsencode(run.path))}/{report}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _charts(runs: Sequence[RunEntry]) -> list[_Chart]:
    """Return a chart for each setup with at least two rates."""
    by_setup: dict[tuple[str, ...], list[tuple[RunEntry, float]]] = defaultdict(list)
    for run in runs:
        if run.samples_per_s is not None:
            by_setup[run.setup].append((run, run.samples_per_s))
    return [_chart(setup, found) for setup, found in by_setup.items() if len(found) > 1]


def _chart(setup: tuple[str, ...], found: list[tuple[RunEntry, float]]) -> _Chart:
    *words, replicas = setup
    rates = [rate for _, rate in found]
    top = max(rates) or 1.0
    across = (_WIDTH - 2 * _EDGE) / (len(found) - 1)
    points = [
        _Point(
            x=round(_EDGE + number * across, 1),
            y=round(_HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * rate / top, 1),
            failed=run.outcome != "passed",
            label=f"{printable(run.path)}: {rate:.2f} samples/s, {run.outcome}",
        )
        for number, (run, rate) in enumerate(found)
    ]
    path = "M" + "L".join(f"{point.x} {point.y}" for point in points)
    return _Chart(
        title=", ".join([*filter(None, words), f"{replicas} replica(s)"]),
        path=path,
        points=points,
        low=min(rates),
        high=max(rates),
        last=rates[-1],
    )
