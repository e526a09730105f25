"""Whether time itself was measured well: the host's clock, and pauses of the run."""

from collections.abc import Iterator

from record.structs import EventKind, EventRecord
from report.findings.finding import Finding, Found, some
from report.reading.run import Run
from report.rendering.words import count


def clock(run: Run) -> Iterator[Found]:
    """Yield steps of the host's clock and pauses of the coordinator."""
    steps = _of(run, "clock")
    if steps:
        passed = {c.name for c in run.verdict.checks if c.outcome == "passed"}
        yield Found(
            finding=Finding(
                code="clock",
                severity="note" if "clock" in passed else "critical",
                title="The host's clock was set during the run",
                evidence=_when(run, steps),
                cause="LoadGen measures by the host's clock: its latencies and rates"
                " are wrong, ours are not. Something set the clock (NTP, an operator),"
                " or the host was suspended",
            )
        )
    pauses = _of(run, "pause")
    if pauses:
        yield Found(
            finding=Finding(
                code="pause",
                severity="warning",
                title=f"The coordinator was paused ({count(len(pauses), 'time')})",
                evidence=_when(run, pauses),
                cause="its process was stopped, its virtual machine was paused, or the"
                " host was swapping or had no processor time for it: samples of that"
                " time waited for the coordinator, not for a replica",
            )
        )


def _of(run: Run, kind: EventKind) -> list[EventRecord]:
    return [event for event in run.events if event.kind == kind]


def _when(run: Run, events: list[EventRecord]) -> str:
    return some([f"{e.cause} at {(e.t_ns - run.begin_ns) / 1e9:.1f} s" for e in events])
