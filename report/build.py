"""Writes a report: report.json, report.md, report.html, tables and plots."""

from collections.abc import Callable
from pathlib import Path

from record.folder import RunFolder, write_json, write_text
from report.content import Report, make_report
from report.reading.folder import read_run
from report.rendering.csv_tables import as_csv, tables
from report.rendering.page import PARTS, render
from report.rendering.plots.canvas import Plot
from report.rendering.plots.latency import (
    breakdown_plot,
    distribution_plot,
    scatter_plot,
)
from report.rendering.plots.load import device_plot, load_plot
from report.rendering.plots.scaling import scaling_plot
from report.rendering.plots.symmetry import replica_plot, time_plot
from report.rendering.plots.timeline import timeline_plot
from report.statistics.comparison import GroupComparison
from report.statistics.sizes import fitted_law, scaling_by_size


def write_report(folder: RunFolder) -> Path:
    """Write the report of the run in `folder` into it; return the path of its page.

    Raises:
        RecordError: a file of the folder is missing or damaged.
        OSError: the report cannot be written.
    """
    return write_files(make_report([read_run(folder.path)]), folder.path)


def write_files(
    report: Report, out: Path, progress: Callable[[str], None] = lambda _: None
) -> Path:
    """Write all files of a report into the folder `out`; return the path of its page.

    Args:
        report: report to write.
        out: folder; it is created if it does not exist.
        progress: called with the name of each step.

    Raises:
        OSError: a file cannot be written.
    """
    content = report.content.plain()
    for name in ("tables", "plots"):
        (out / PARTS / name).mkdir(parents=True, exist_ok=True)
    write_json(out / "report.json", content)
    for name, table in tables(content):
        write_text(out / PARTS / "tables" / f"{name}.csv", as_csv(table))
    progress("drawing plots")
    plots = draw(report)
    for plot in plots:
        write_text(out / PARTS / "plots" / f"{plot.name}.svg", plot.svg())
        (out / PARTS / "plots" / f"{plot.name}.png").write_bytes(plot.png())
    progress("writing the page")
    for name in ("report.md", "report.html"):
        write_text(out / name, render(name, report, content, plots, out))
    return out / "report.html"


def draw(report: Report) -> list[Plot]:
    """Return the plots of a report that its runs have data for."""
    run = report.subject
    marked = [location for f in report.content.findings for location in f.where]
    nodes = GroupComparison(run=run, level="node")
    rows = scaling_by_size(report.runs)
    plots = [
        scaling_plot(rows, fitted_law(rows)),
        timeline_plot(report.analysis),
        replica_plot(run, marked),
        time_plot(run, nodes, marked),
        distribution_plot(run, marked),
        breakdown_plot(run),
        scatter_plot(run, marked),
        load_plot(run),
        device_plot(run),
    ]
    return [plot for plot in plots if plot is not None]
