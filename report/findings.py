"""What a reader of the report must know first, with the evidence for it."""

from typing import Literal

from msgspec import Struct

from report.run import Run

_SHOWN = 10


class Finding(Struct, kw_only=True):
    """Something that the data show."""

    severity: Literal["critical", "warning", "note"]
    title: str
    evidence: str
    cause: str
    """As far as the data tell."""


def findings(run: Run) -> list[Finding]:
    """Return the findings of a run, gravest first."""
    found = [
        *_lost(run),
        *_fenced(run),
        *_gate(run),
        *_retried(run),
        *_idle(run),
        *_single(run),
    ]
    if run.verdict.relaxed:
        found.append(
            Finding(
                severity="note",
                title="Not an MLPerf result: settings were relaxed",
                evidence="; ".join(run.verdict.relaxed),
                cause="run=smoke shortens and relaxes by design",
            )
        )
    order = ("critical", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _lost(run: Run) -> list[Finding]:
    lost = [s.seq for s in run.samples if s.status == "lost"]
    if not lost:
        return []
    return [
        Finding(
            severity="critical",
            title=f"{len(lost)} of {len(run.samples)} samples were lost",
            evidence=f"seq {_some(lost)}",
            cause=run.verdict.reason or "not shown by the record",
        )
    ]


def _fenced(run: Run) -> list[Finding]:
    return [
        Finding(
            severity="critical",
            title=f"Replica {event.replica} on {event.node} was fenced",
            evidence=f"at {event.t_ns} ns",
            cause=event.cause,
        )
        for event in run.events
        if event.kind == "fence"
    ]


def _gate(run: Run) -> list[Finding]:
    return [
        Finding(
            severity="critical",
            title=f"The gate refuses the run: {check.name}",
            evidence=f"value {check.value}, limit {check.limit}",
            cause=check.note or "not shown by the record",
        )
        for check in run.verdict.failures
    ]


def _retried(run: Run) -> list[Finding]:
    retried = [s.seq for s in run.completed if s.attempt > 1]
    if not retried:
        return []
    causes = {event.cause for event in run.events if event.kind == "retry"}
    return [
        Finding(
            severity="warning",
            title=f"{len(retried)} samples were handed out more than once",
            evidence=f"seq {_some(retried)}",
            cause="; ".join(sorted(causes)),
        )
    ]


def _idle(run: Run) -> list[Finding]:
    worked = {s.replica for s in run.completed}
    idle = [r.replica for r in run.replicas if r.replica not in worked]
    if not idle or not run.completed:
        return []
    single = run.settings.scenario == "singlestream"
    return [
        Finding(
            severity="note" if single else "warning",
            title=f"{len(idle)} of {len(run.replicas)} replicas completed nothing",
            evidence=f"replica {_some(idle)}",
            cause="SingleStream has one query at a time, and the first replica is free"
            if single
            else "not shown by the record",
        )
    ]


def _single(run: Run) -> list[Finding]:
    single = [s.seq for s in run.completed if s.output_tokens == 1]
    if not single:
        return []
    return [
        Finding(
            severity="warning",
            title=f"{len(single)} answers are a single token",
            evidence=f"seq {_some(single)}",
            cause="the model ended its answer at once; LoadGen logs an error for each",
        )
    ]


def _some(seqs: list[int]) -> str:
    shown = ", ".join(str(seq) for seq in seqs[:_SHOWN])
    return shown + (f" and {len(seqs) - _SHOWN} more" if len(seqs) > _SHOWN else "")
