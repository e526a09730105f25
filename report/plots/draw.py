"""All plots that suit a report."""

from report.comparison import Comparison
from report.content import Report
from report.plots.canvas import Plot
from report.plots.latency import distribution_plot, life_plot, scatter_plot
from report.plots.load import device_plot, load_plot
from report.plots.scaling import scaling_plot
from report.plots.symmetry import replica_plot, time_plot
from report.plots.timeline import timeline_plot
from report.scaling.section import fitted_law
from report.scaling.sizes import scaled


def draw(report: Report) -> list[Plot]:
    """Return the plots of a report, those that its runs have data for."""
    run = report.subject
    marked = [place for f in report.content.findings for place in f.where]
    nodes = Comparison(run=run, level="node")
    rows = scaled(report.runs)
    plots = [
        scaling_plot(rows, fitted_law(rows)),
        timeline_plot(report.analysis),
        replica_plot(run, marked),
        time_plot(run, nodes, marked),
        load_plot(run),
        device_plot(run),
        distribution_plot(run, marked),
        scatter_plot(run, marked),
        life_plot(run),
    ]
    return [plot for plot in plots if plot is not None]
