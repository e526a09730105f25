"""Writes the record and report of a campaign, and prints its result."""

from collections.abc import Sequence

from campaigns.series import RunSeries
from record.campaign import Campaign
from report.build import write_files
from report.content import Report, make_report
from report.statistics.sizes import SizeScaling, scaling_by_size


def conclude(series: RunSeries, lines: Sequence[str] | None = None) -> bool:
    """Write the record and the report, and print what was found.

    Args:
        series: of the campaign.
        lines: what to print; None: a line for each size.

    Returns:
        Whether the report covers every run that was made.
    """
    series.save()
    runs = series.readable()
    if not runs:
        return False
    report = make_report(runs, campaign=series.campaign)
    page = write_files(report, series.root)
    for line in _summary(series.campaign, report) if lines is None else lines:
        print(line)
    print(f"report: {page}")
    return len(runs) == len(series.finished)


def _summary(campaign: Campaign, report: Report) -> list[str]:
    """Return the lines that the user reads at the end."""
    rows: list[SizeScaling] = scaling_by_size(report.runs)
    lines = []
    for size in campaign.sizes:
        main = [row for row in rows if row.size == size.replicas and row.metric.main]
        text = f"{size.replicas} replica(s): "
        if size.reason:
            lines.append(text + f"no result: {size.reason}")
            continue
        if size.sustained_qps is not None:
            text += f"sustained rate {size.sustained_qps:.4g} queries/s"
        elif main and main[0].own is not None:
            text += f"{main[0].own.value:.4g} {main[0].metric.unit}"
        else:
            text += "done"
        share = main[0].efficiency if main and size.replicas > 1 else None
        if share is not None:
            text += f", efficiency {100 * share.value:.1f}%"
            if share.low == share.low:
                text += (
                    f" (95% interval {100 * share.low:.1f} to {100 * share.high:.1f}%)"
                )
        lines.append(f"{text}, {size.runs} runs")
    return lines
