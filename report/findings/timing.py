"""Findings on time itself: the host's clock, pauses, and the rate of arrivals."""

from collections.abc import Iterator

from record.structs import EventKind, EventRecord
from report.findings.finding import Finding, Found
from report.reading.run import Run
from report.statistics.rates import arrived_per_s, is_server, rate_of
from report.wording import count, sentence, some

_NOTICED = 0.02
"""Relative difference of arrival rates from which it is a finding."""


def timing(run: Run) -> Iterator[Found]:
    """Yield steps of the host's clock, and pauses of the coordinator."""
    steps = _events(run, "clock")
    if steps:
        passed = {c.name for c in run.verdict.checks if c.outcome == "passed"}
        yield Found(
            finding=Finding(
                code="clock",
                severity="note" if "clock" in passed else "critical",
                title="The host's clock was set during the run",
                evidence=_when(run, steps),
                cause="NTP or an operator set the clock, or the host was suspended."
                " LoadGen uses the host's clock, so its latencies and rates are wrong."
                " The times in the run's record do not depend on that clock.",
            )
        )
    pauses = _events(run, "pause")
    if pauses:
        yield Found(
            finding=Finding(
                code="pause",
                severity="warning",
                title=f"The coordinator was paused ({count(len(pauses), 'time')})",
                evidence=_when(run, pauses),
                cause="Its process was stopped, its virtual machine was paused, or the"
                " host was swapping or had no processor time for it. Samples of that"
                " time waited for the coordinator, not for a replica.",
            )
        )


def arrivals(run: Run) -> Iterator[Found]:
    """Yield a note if queries arrived 2% faster or slower than set (Server)."""
    rate, arrived = rate_of(run), arrived_per_s(run)
    if not is_server([run]) or not rate or abs(arrived / rate - 1) < _NOTICED:
        return
    scheduled = run.log.number("result_scheduled_samples_per_sec") or 0.0
    yield Found(
        finding=Finding(
            code="arrivals",
            severity="note",
            title=f"Queries arrived {abs(arrived / rate - 1):.1%}"
            f" {'faster' if arrived > rate else 'slower'} than the rate that was set",
            evidence=f"{count(len(run.samples), 'query', 'queries')} arrived at"
            f" {arrived:,.4g} queries/s. The rate was set to {rate:,.4g} queries/s"
            + (f" and scheduled at {scheduled:,.4g} queries/s." if scheduled else "."),
            cause=_cause(arrived, scheduled),
            measure="" if scheduled else "Make a run that LoadGen completes.",
        )
    )


def _cause(arrived: float, scheduled: float) -> str:
    if not scheduled:
        return "LoadGen did not log the rate that it scheduled."
    if arrived < scheduled * (1 - _NOTICED):
        return "Queries were issued later than scheduled."
    return (
        "LoadGen draws the gaps between queries at random. In a short run their mean"
        " differs from the rate that was set. The same seed and number of queries give"
        " the same gaps."
    )


def _events(run: Run, kind: EventKind) -> list[EventRecord]:
    return [event for event in run.events if event.kind == kind]


def _when(run: Run, events: list[EventRecord]) -> str:
    at = [f"{e.cause} at {(e.t_ns - run.begin_ns) / 1e9:.1f} s" for e in events]
    return sentence(some(at))
