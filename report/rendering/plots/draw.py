"""All plots that suit a report."""

from report.content import Report
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
