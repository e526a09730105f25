"""The cards at the top of the page: the answer to the scenario's own question.

Offline asks for the rate and what limits it; Server and Interactive for the rate, its
limits and the headroom; SingleStream for the latency at its percentile. A campaign asks
for the result of each size, so its cards never show a single run.
"""

from collections.abc import Iterator

from msgspec import Struct

from record.structs import Json
from report.content import Report
from report.reading.run import Run
from report.sections.symmetry import BALANCED, NOT_TESTED
from report.sections.validity import DOUBTFUL, state
from report.statistics.breakdown import logged_percentile
from report.statistics.limiting import limiting
from report.statistics.limits import limits
from report.statistics.numbers import MS
from report.statistics.rates import is_server, rate_of, steadiness
from report.statistics.sizes import SizeScaling, scaling_by_size
from report.wording import cell, count

_GREEN = ("perfect", "good")
_STEADINESS = {
    "steady": "the queue was steady",
    "growing": "the queue grew",
    "too_short": "the run was too short to show a steady queue",
}


class Card(Struct, kw_only=True):
    """One figure at the top of the page."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    status: str = ""
    """A status word; empty for a figure without judgment."""


def headline(report: Report) -> list[Card]:
    """Return the cards of a report; what makes a run invalid precedes any speed."""
    return _campaign(report) if report.several else _run(report)


def title(report: Report) -> str:
    """Return what the report is about: a campaign, runs, or a run."""
    if report.campaign is not None:
        return f"{report.campaign.kind} campaign of {report.campaign.started}"
    if report.several:
        return f"{count(len(report.runs), 'run')}"
    return report.subject.name


def sizes_of(report: Report) -> str:
    """Return the numbers of replicas of a report, e.g. `1, 2, 4 replicas`."""
    sizes = (
        [size.replicas for size in report.campaign.sizes]
        if report.campaign is not None and report.campaign.sizes
        else sorted({run.size for run in report.runs})
    )
    text = ", ".join(str(size) for size in sizes)
    return f"{text} replica{'' if sizes == [1] else 's'}"


def _run(report: Report) -> list[Card]:
    run = report.subject
    completed = _completed(run)
    cards = [
        *_speed(report),
        *_limits(run),
        *_held(report),
        *_evenness(report),
    ]
    if state(run) == DOUBTFUL:
        # Nothing in a damaged record may be called good.
        for card in cards:
            card.status = "" if card.status in _GREEN else card.status
    bad = completed.status == "critical"
    return [
        *_verdict(run),
        *([completed] if bad else []),
        *cards,
        *([] if bad else [completed]),
    ]


def _verdict(run: Run) -> Iterator[Card]:
    if run.verdict.outcome != "passed":
        yield Card(
            label="Run",
            value=run.verdict.outcome,
            note=run.verdict.reason or "see Validity",
            status="critical",
        )


def _completed(run: Run) -> Card:
    done, lost, total = len(run.done), len(run.lost), run.issued
    if lost:
        return Card(
            label="Samples lost",
            value=f"{lost:,} of {total:,}",
            note=f"{100 * lost / total:.3g}%; speeds include completed samples only",
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


def _speed(report: Report) -> Iterator[Card]:
    """Yield the rates of a run with the names and definitions of LoadGen's summary."""
    run = report.subject
    single = run.settings.loadgen_scenario == "SingleStream"
    if single:
        yield from _single_stream(run)
    rates, span = run.completed_per_s, "first issue to last completion"
    names = ["Samples/s", "Output tokens/s"]
    if rates is not None:
        names = ["Completed samples/s", "Completed tokens/s"]
        span = "first issue to completion of the last issued sample"
    samples, tokens = rates or (run.samples_per_s, run.tokens_per_s)
    note = f"from {span}"
    if is_server([run]) and rate_of(run):
        note = f"rate set to {cell(rate_of(run))} queries/s"
        if steadiness(run) in _STEADINESS:
            note += f"; {_STEADINESS[steadiness(run)]}"
    yield Card(label=names[0], value=cell(samples), unit="samples/s", note=note)
    yield Card(
        label=names[1],
        value=cell(tokens),
        unit="tokens/s",
        note=f"run of {run.wall_s:,.1f} s on {count(run.size, 'replica')}",
    )
    if run.offline:
        limit = limiting(run, report.ratings)
        if limit is not None:
            yield Card(label="Limited by", value=limit.name, note=limit.evidence)


def _single_stream(run: Run) -> Iterator[Card]:
    """Yield the metric of SingleStream, p90 latency, and its parts."""
    for name, note in (
        ("latency", "logged by LoadGen; the metric of SingleStream"),
        ("TTFT", "logged by LoadGen"),
        ("TPOT", "logged by LoadGen"),
    ):
        value = logged_percentile(run, name, 0.9)
        if value is not None:
            label = f"{name[0].upper()}{name[1:]} p90"
            yield Card(label=label, value=cell(value / MS), unit="ms", note=note)


def _limits(run: Run) -> Iterator[Card]:
    for limit in limits(run):
        known, headroom = limit.value_ns is not None, limit.headroom_pct
        yield Card(
            label=f"{limit.name} p{limit.percentile:g}",
            value=cell((limit.value_ns or 0.0) / MS) if known else "unknown",
            unit="ms" if known else "",
            note=f"limit {cell(limit.allowed_ns / MS)} ms"
            + ("" if headroom is None else f", headroom {headroom:.3g}%"),
            status="good" if headroom is not None and headroom >= 0 else "critical",
        )


def _held(report: Report) -> Iterator[Card]:
    """Yield the highest rate that a run would have held if it missed a limit."""
    analysis = report.analysis
    forecast, safe = analysis.inputs.forecast_per_s, analysis.safe
    if not analysis.accounts:
        return
    if forecast is not None:
        value, low, high = forecast
        note = "90% interval; forecast from its engine steps"
    elif safe is not None:
        value, low, high = safe.per_s, safe.low, safe.high
        note = "95% interval; from its rate when saturated"
    else:
        return
    yield Card(
        label="Highest rate within the limits",
        value=cell(value),
        unit="queries/s",
        note=f"{low:.4g} to {high:.4g}, {note}",
    )


def _evenness(report: Report) -> Iterator[Card]:
    main = "service latency" if report.subject.streaming else "tokens/s"
    for row in rows_of(report, "symmetry", "summary"):
        spread, status = row["spread"], str(row["status"])
        if row["measure"] != main or spread is None or status == BALANCED:
            continue
        words = {True: f"{status}, beyond noise", False: f"{status}, within noise"}
        text = words.get(row["beyond noise"] is True, status)
        if status == NOT_TESTED:
            text = f"{NOT_TESTED}: the run is too short"
        yield Card(
            label=f"Spread between {row['between']}",
            value=f"{spread:.1f}",
            unit="%",
            note=f"in {main}: {text}",
            status=status,
        )


def rows_of(report: Report, section: str, table: str) -> Iterator[dict[str, Json]]:
    """Yield the rows of a table of the report, each by the names of its columns."""
    found = report.content.plain()[section][table]
    names = [column["name"] for column in found["columns"]]
    for row in found["rows"]:
        yield dict(zip(names, row, strict=True))


def _campaign(report: Report) -> list[Card]:
    """Return the result of each size, and what makes runs of the campaign invalid."""
    rows = [row for row in scaling_by_size(report.runs) if row.metric.main]
    results = [_size(report, row) for row in rows]
    if report.campaign is not None and any(s.reason for s in report.campaign.sizes):
        reasons = {s.replicas: s.reason for s in report.campaign.sizes if s.reason}
        made = {row.size for row in rows}
        results += [
            _no_result(size, reason)
            for size, reason in reasons.items()
            if size not in made
        ]
    return [*_campaign_faults(report), *results, *_efficiency(rows)]


def _campaign_faults(report: Report) -> Iterator[Card]:
    campaign = report.campaign
    if campaign is not None and campaign.status in ("not good", "interrupted"):
        missing = sum(bool(size.reason) for size in campaign.sizes)
        yield Card(
            label="Campaign",
            value={"not good": "incomplete"}.get(campaign.status, campaign.status),
            note=f"{count(missing, 'size')} without a result" if missing else "",
            status="critical",
        )
    # Runs of a search fail on purpose: they give the upper bound of the rate.
    searched = {
        one.run for one in (campaign.runs if campaign else []) if one.phase == "search"
    }
    own = [run for run in report.runs if run.name not in searched]
    lost = [run for run in own if len(run.lost)]
    if lost:
        yield Card(
            label="Samples lost",
            value=f"{sum(len(run.lost) for run in lost):,}",
            note=f"in {len(lost)} of {count(len(own), 'run')}; speeds include completed"
            " samples only",
            status="critical",
        )
    doubtful = [run for run in own if state(run) == DOUBTFUL]
    if doubtful:
        yield Card(
            label="Record",
            value="disagrees",
            note=f"with LoadGen's log in {len(doubtful)} of {count(len(own), 'run')}",
            status="critical",
        )


def _size(report: Report, row: SizeScaling) -> Card:
    """Return the result of one size in the campaign's own metric."""
    campaign = report.campaign
    size = next(
        (s for s in (campaign.sizes if campaign else []) if s.replicas == row.size),
        None,
    )
    server = is_server(report.runs)
    if size is not None and size.reason:
        return _no_result(row.size, size.reason)
    if row.own is None:
        return _no_result(row.size, "no run gives a result")
    name = "Sustained rate" if server else "Throughput"
    runs = count(len(row.own.values), "run")
    value = row.own.value
    if server and size is not None and size.sustained_qps is not None:
        value = size.sustained_qps
        note = f"limits met and queue steady in {count(size.runs, 'run')}"
    else:
        note = f"mean of {runs}" if len(row.own.values) > 1 else "one run"
    return Card(
        label=f"{name}, {count(row.size, 'replica')}",
        value=cell(value),
        unit=row.metric.unit,
        note=note,
        status="good" if server else "",
    )


def _no_result(size: int, reason: str) -> Card:
    return Card(
        label=count(size, "replica"), value="no result", note=reason, status="critical"
    )


def _efficiency(rows: list[SizeScaling]) -> Iterator[Card]:
    """Yield the efficiency of the largest size."""
    known = [row for row in rows if row.size > 1 and row.efficiency is not None]
    for row in known[-1:]:
        share = row.efficiency
        assert share is not None
        interval = (
            "95% interval unknown"
            if share.low != share.low or share.high != share.high
            else f"95% interval {100 * share.low:.0f} to {100 * share.high:.0f}%"
        )
        yield Card(
            label=f"Scaling efficiency, {count(row.size, 'replica')}",
            value=f"{100 * share.value:.1f}",
            unit="%",
            note=f"in {row.metric.name}: {row.verdict}; {interval}",
        )
