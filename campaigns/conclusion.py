"""Writes the record and report of a campaign, and prints its result."""

from campaigns.output import Summary, show
from campaigns.series import RunSeries
from record.campaign import Campaign, CampaignSize
from record.structs import Json
from report.build import write_files
from report.content import Report, make_report
from report.statistics.sizes import SizeScaling, scaling_by_size

_SIZES = {
    "replicas": "replicas",
    "value": "result",
    "unit": "unit",
    "efficiency": "efficiency, %",
    "low": "from, %",
    "high": "to, % (95%)",
    "runs": "runs",
    "note": "",
}
_RUNS = {
    "run": "run",
    "phase": "phase",
    "rate": "queries/s",
    "queries": "queries",
    "seconds": "seconds",
    "counts": "counts",
    "reason": "",
}


def conclude(series: RunSeries, conclusion: str | None = None) -> bool:
    """Write the record and the report, and print what was found.

    Args:
        series: of the campaign.
        conclusion: of a campaign with one size, which is printed after a table of its
            runs; None: a table of the sizes is the result.

    Returns:
        Whether the report covers every run that was made.
    """
    series.campaign.expected_end_s = None
    series.save()
    runs = series.readable()
    report = make_report(runs, campaign=series.campaign) if runs else None
    page = None if report is None else write_files(report, series.root)
    campaign = series.campaign
    by_size = conclusion is None and bool(campaign.sizes) and report is not None
    rows = _sizes(campaign, report) if by_size and report else _runs(campaign)
    summary = Summary(
        campaign=campaign.kind,
        status=campaign.status,
        conclusion=conclusion or "",
        folder=str(series.root),
        report=None if page is None else str(page),
        columns=_SIZES if by_size else _RUNS,
        rows=rows,
    )
    show(series.output, summary)
    return page is not None and len(runs) == len(series.finished)


def _runs(campaign: Campaign) -> list[dict[str, Json]]:
    return [
        {
            "run": run.run,
            "phase": run.phase,
            "rate": run.rate,
            "queries": run.queries,
            "seconds": run.seconds,
            "counts": run.counts,
            "reason": run.reason,
        }
        for run in campaign.runs
    ]


def _sizes(campaign: Campaign, report: Report) -> list[dict[str, Json]]:
    scaling = scaling_by_size(report.runs)
    return [_size(size, scaling) for size in campaign.sizes]


def _size(size: CampaignSize, scaling: list[SizeScaling]) -> dict[str, Json]:
    """Return the row of one size."""
    row: dict[str, Json] = {"replicas": size.replicas, "runs": size.runs}
    if size.reason:
        return row | {"note": f"no result: {size.reason}"}
    main = [row for row in scaling if row.size == size.replicas and row.metric.main]
    if size.sustained_qps is not None:
        row |= {"value": size.sustained_qps, "unit": "sustained queries/s"}
    elif main and main[0].own is not None:
        row |= {"value": main[0].own.value, "unit": main[0].metric.unit}
    share = main[0].efficiency if main and size.replicas > 1 else None
    if share is not None:
        row["efficiency"] = 100 * share.value
        if share.low == share.low:  # NaN: it has no interval
            row |= {"low": 100 * share.low, "high": 100 * share.high}
    return row
