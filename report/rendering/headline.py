"""The few figures at the top of the page."""

from msgspec import Struct

from report.content import Report
from report.figures import Table
from report.reading.run import Run
from report.rendering.words import cell, count
from report.sections.latency import by_loadgen
from report.sections.symmetry import NOT_TESTED
from report.sections.validity import DOUBTFUL, state
from report.statistics.rates import paced

_GREEN = ("perfect", "good")


class Card(Struct, kw_only=True):
    """One figure at the top of the page."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    status: str = ""
    """A status word; empty for a figure without judgement."""


def headline(report: Report) -> list[Card]:
    """Return the cards of a report; what spoils the run stands before any speed."""
    run, doubtful = report.subject, state(report.subject) == DOUBTFUL
    cards = [
        *_rates(report),
        *_efficiency(report),
        *_speed(run),
        *_limits(report),
        *_single_stream(run),
        *_evenness(report),
    ]
    if doubtful:
        # Nothing is good that comes from a damaged record.
        for card in cards:
            card.status = "" if card.status in _GREEN else card.status
    completed = _completed(run)
    return [
        *_verdict(run),
        *([completed] if completed.status == "critical" else []),
        *cards,
        *([completed] if completed.status != "critical" else []),
    ]


def _verdict(run: Run) -> list[Card]:
    if run.verdict.outcome == "passed":
        return []
    return [
        Card(
            label="Run",
            value=run.verdict.outcome,
            note=run.verdict.reason or "see Validity",
            status="critical",
        )
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
            label=f"Sustained rate, {count(size.replicas, 'replica')}",
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
    done, lost, total = len(run.done), len(run.lost), run.issued
    if lost:
        return Card(
            label="Samples lost",
            value=f"{lost:,} of {total:,}",
            note=f"{100 * lost / total:.3g}%; speeds count completed samples alone",
            status="critical",
        )
    if state(run) == DOUBTFUL:
        return Card(
            label="Samples completed",
            value=f"{done:,}",
            note=f"LoadGen issued {total:,}; the record disagrees with LoadGen's log",
            status="critical",
        )
    return Card(
        label="Samples completed",
        value=f"{done:,}",
        note="none lost" if total else "none was issued",
        status="perfect" if total and done == total else "critical",
    )


def _speed(run: Run) -> list[Card]:
    """Return the rates by the names and definitions of LoadGen's summary."""
    rates, seconds = run.completed_per_s, "first issue to last completion"
    names = ["Samples/s", "Output tokens/s"]
    if rates is not None:
        names = ["Completed samples/s", "Completed tokens/s"]
        seconds = "first issue to completion of the last issued sample"
    samples, tokens = rates or (run.samples_per_s, run.tokens_per_s)
    return [
        Card(label=names[0], value=cell(samples), unit="samples/s", note=seconds),
        Card(
            label=names[1],
            value=cell(tokens),
            unit="tokens/s",
            note=f"run of {run.wall_s:,.1f} s on {count(run.size, 'replica')}",
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
                    label=f"Scaling efficiency, {count(size, 'replica')}",
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
        noise = {True: ", beyond noise", False: ", within noise"}.get(beyond, "")
        cards.append(
            Card(
                label=f"Spread between {between}",
                value=f"{spread:.1f}",
                unit="%",
                note=f"in {measure}: {status}{noise}"
                + (" (too short a run)" if status == NOT_TESTED else ""),
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


def _single_stream(run: Run) -> list[Card]:
    """Return the benchmark's own metric of SingleStream: p90 latency."""
    value = by_loadgen(run, "latency", 0.9)
    if run.settings.loadgen_scenario != "SingleStream" or value is None:
        return []
    return [
        Card(
            label="Latency p90",
            value=cell(value / 1e6),
            unit="ms",
            note="by LoadGen, the metric of SingleStream",
        )
    ]
