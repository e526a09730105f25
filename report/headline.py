"""The few figures at the top of the page."""

from msgspec import Struct

from report.content import Report
from report.figures import Table
from report.run import Run
from report.scaling.rates import paced
from report.words import cell


class Card(Struct, kw_only=True):
    """One figure at the top of the page."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    status: str = ""
    """A status word; empty for a figure without judgement."""


def headline(report: Report) -> list[Card]:
    """Return the cards of a report; lost samples stand before any speed."""
    run = report.subject
    return [
        *_rates(report),
        _completed(run),
        *_efficiency(report),
        *_speed(run),
        *_evenness(report),
        *_limits(report),
    ]


def title(report: Report) -> str:
    """Return what the report is about: a campaign, or a run."""
    if report.campaign is None:
        return report.subject.name
    sizes = ", ".join(str(size.replicas) for size in report.campaign.sizes)
    return f"{report.campaign.kind} campaign of {report.campaign.started}" + (
        f", {sizes} replica{'' if sizes == '1' else 's'}" if sizes else ""
    )


def _rates(report: Report) -> list[Card]:
    """Return the rates that a campaign found; they are what it was started for."""
    return [
        Card(
            label=f"Sustained rate, {size.replicas} replica"
            + ("" if size.replicas == 1 else "s"),
            value="none found"
            if size.sustained_qps is None
            else cell(size.sustained_qps),
            unit="" if size.sustained_qps is None else "queries/s",
            note=size.reason
            or f"limits kept and queue steady in {size.runs} of {size.runs} runs",
            status="critical" if size.sustained_qps is None else "good",
        )
        for size in (report.campaign.sizes if report.campaign else [])
        if paced(report.runs)
    ]


def _completed(run: Run) -> Card:
    lost, total = len(run.lost), len(run.samples)
    if lost:
        return Card(
            label="Samples lost",
            value=f"{lost:,} of {total:,}",
            note=f"{100 * lost / total:.3g}%; speeds count completed samples alone",
            status="critical",
        )
    return Card(
        label="Samples completed",
        value=f"{len(run.done):,}",
        note="none lost" if total else "none was issued",
        status="perfect" if total else "critical",
    )


def _speed(run: Run) -> list[Card]:
    return [
        Card(
            label="Throughput",
            value=cell(run.samples_per_s),
            unit="samples/s",
            note="completed work / wall time",
        ),
        Card(
            label="Output tokens",
            value=cell(run.tokens_per_s),
            unit="tokens/s",
            note=f"over {run.wall_s:,.1f} s on {run.size} replica"
            + ("" if run.size == 1 else "s"),
        ),
    ]


def _efficiency(report: Report) -> list[Card]:
    sizes = report.content.scaling["sizes"]
    assert isinstance(sizes, Table)
    for metric, _, size, *_, share, low, high, verdict in sizes.rows:
        if size == report.subject.size and size > 1 and share is not None:
            interval = f"{low:.0f} to {high:.0f}%" if low is not None else "not known"
            return [
                Card(
                    label=f"Scaling efficiency, {size} replicas",
                    value=f"{share:.1f}",
                    unit="%",
                    note=f"in {metric}; {verdict}; 95% interval {interval}",
                )
            ]
    return []


def _evenness(report: Report) -> list[Card]:
    summary = report.content.symmetry["summary"]
    assert isinstance(summary, Table)
    main = "service latency" if report.subject.streaming else "tokens/s"
    cards = []
    for measure, between, *_, spread, beyond, _, status in summary.rows:
        if measure != main or spread is None:
            continue
        noise = {True: "beyond noise", False: "within noise"}.get(beyond, str(beyond))
        cards.append(
            Card(
                label=f"Spread between {between}",
                value=f"{spread:.1f}",
                unit="%",
                note=f"in {measure}: {status}, {noise}",
                status=status,
            )
        )
    return cards


def _limits(report: Report) -> list[Card]:
    limits = report.content.latency["limits"]
    assert isinstance(limits, Table)
    return [
        Card(
            label=f"{name} p{percentile:g}",
            value=cell(value),
            unit="ms",
            note=f"limit {cell(allowed)} ms, headroom {cell(headroom)}%",
            status="good" if headroom is not None and headroom >= 0 else "critical",
        )
        for name, percentile, value, allowed, headroom, _ in limits.rows
    ]
