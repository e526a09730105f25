"""All plots that suit a report."""

from report.content import Report
from report.rendering.plots.canvas import Plot
from report.rendering.plots.latency import distribution_plot, life_plot, scatter_plot
from report.rendering.plots.load import device_plot, load_plot
from report.rendering.plots.scaling import scaling_plot
from report.rendering.plots.symmetry import replica_plot, time_plot
from report.sections.scaling import fitted_law
from report.statistics.comparison import Comparison
from report.statistics.sizes import scaled


def draw(report: Report) -> list[Plot]:
    """Return the plots of a report, those that its runs have data for."""
    run = report.subject
    marked = [place for f in report.content.findings for place in f.where]
    nodes = Comparison(run=run, level="node")
    rows = scaled(report.runs)
    plots = [
        scaling_plot(rows, fitted_law(rows)),
        replica_plot(run, marked),
        time_plot(run, nodes, marked),
        load_plot(run),
        device_plot(run),
        distribution_plot(run, marked),
        scatter_plot(run, marked),
        life_plot(run),
    ]
    return [plot for plot in plots if plot is not None]
