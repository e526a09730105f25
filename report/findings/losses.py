"""Samples that were lost or handed out again, and replicas that left."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from record.structs import EventRecord
from report.figures import figure
from report.findings.finding import (
    Finding,
    Found,
    Recommendation,
    count,
    name_replicas,
    some,
)
from report.run import Run
from report.samples import UNKNOWN

_UNTOLD = "not shown by the record"


def losses(run: Run) -> Iterator[Found]:
    """Yield what went wrong with samples and replicas."""
    yield from _lost(run)
    yield from _fenced(run)
    yield from _changed_answers(run)
    yield from _retried(run)
    yield from _rejoined(run)


def _lost(run: Run) -> Iterator[Found]:
    lost = run.lost
    if not len(lost):
        return
    total = len(run.samples)
    places = Counter(
        run.node_of.get(int(replica), "no replica") for replica in lost.replica
    )
    replicas = sorted({int(r) for r in lost.replica if r != UNKNOWN})
    told = [
        f"replica {event.replica} on {event.node}: {event.cause}"
        for event in _departures(run)
        if event.replica in replicas
    ]
    ended = run.verdict.reason if run.verdict.outcome == "aborted" else ""
    share = len(lost) / total
    where = ", ".join(f"{n:,} on {place}" for place, n in places.most_common(4))
    all_on = f", all on {next(iter(places))}" if len(places) == 1 else f" ({where})"
    could = total / run.wall_s if run.wall_s else 0.0
    yield Found(
        finding=Finding(
            code="lost",
            severity="critical",
            title=f"{len(lost):,} of {count(total, 'sample')} lost ({100 * share:.3g}%)"
            + all_on,
            where=[*places],
            evidence=f"seq {some(sorted(lost.seq.tolist()))}; {where}",
            cause="; ".join(dict.fromkeys(told)) or ended or _UNTOLD,
            measure=""
            if told or ended
            else "the log of each such replica under replicas/ in the run folder",
        ),
        advice=Recommendation(
            finding="lost",
            where=[*places],
            text="mend what lost the samples before judging any speed of this run",
            estimate=figure(
                round(could - run.samples_per_s, 4),
                "samples/s",
                "lost samples / wall time: what completing them in the same time"
                " would have added",
            ),
        ),
    )


def _departures(run: Run) -> list[EventRecord]:
    """Return one event for each replica that left: the fence, else the death."""
    by_replica: dict[int, EventRecord] = {}
    for event in run.events:
        if event.kind in ("fence", "death") and event.replica is not None:
            known = by_replica.get(event.replica)
            if known is None or known.kind == "death":
                by_replica[event.replica] = event
    return list(by_replica.values())


def _fenced(run: Run) -> Iterator[Found]:
    for event in _departures(run):
        assert event.replica is not None
        after_s = (event.t_ns - run.begin_ns) / 1e9
        gone_s = max(0.0, (run.end_ns - event.t_ns) / 1e9)
        own = run.done.where(run.done.replica == event.replica)
        rate = float(own.output_tokens.sum()) / after_s if after_s > 0 else 0.0
        place = f"replica {event.replica} on {event.node}"
        yield Found(
            finding=Finding(
                code="fenced",
                severity="critical",
                title=f"{place[0].upper()}{place[1:]} left the run",
                where=[event.node or "", f"replica {event.replica}"],
                evidence=f"{after_s:,.1f} s after the first issue; it had completed"
                f" {count(len(own), 'sample')}",
                cause=event.cause or _UNTOLD,
            ),
            advice=Recommendation(
                finding="fenced",
                where=[f"replica {event.replica}"],
                text=f"find out why {place} left: replicas/replica-{event.replica}.log",
                estimate=figure(
                    round(rate * gone_s / run.wall_s, 2) if run.wall_s else 0.0,
                    "tokens/s",
                    "its rate until it left x the share of the run without it: the"
                    " throughput that its absence cost at most",
                ),
            ),
        )


def _changed_answers(run: Run) -> Iterator[Found]:
    changed = [e for e in run.events if e.kind == "protocol"]
    if changed:
        seqs = sorted(e.seq for e in changed if e.seq is not None)
        yield Found(
            finding=Finding(
                code="protocol",
                severity="critical",
                title=f"{count(len(changed), 'breach')} of protocol",
                evidence=f"seq {some(seqs)}" if seqs else "no sample named",
                cause="; ".join(sorted({e.cause for e in changed})),
            )
        )


def _retried(run: Run) -> Iterator[Found]:
    again = run.done.where(run.done.attempt > 1)
    if not len(again):
        return
    causes = Counter(e.cause for e in run.events if e.kind == "retry")
    places = sorted(
        {e.replica for e in run.events if e.kind == "retry" and e.replica is not None}
    )
    first = run.done.where(run.done.attempt == 1)
    extra = (
        float(np.median(again.latency_ns) - np.median(first.latency_ns)) / 1e9
        if len(first)
        else 0.0
    )
    yield Found(
        finding=Finding(
            code="retried",
            severity="warning",
            title=f"{count(len(again), 'sample')} handed out more than once",
            where=[f"replica {r}" for r in places],
            evidence=f"seq {some(sorted(again.seq.tolist()))}"
            + (f"; from {name_replicas(places)}" if places else "")
            + f"; median latency {extra:+,.2f} s against the others",
            cause="; ".join(f"{cause} ({n:,})" for cause, n in causes.most_common(3))
            or _UNTOLD,
        )
    )


def _rejoined(run: Run) -> Iterator[Found]:
    for event in run.events:
        if event.kind == "rejoin":
            yield Found(
                finding=Finding(
                    code="rejoined",
                    severity="note",
                    title=f"Replica {event.replica} on {event.node} came back",
                    where=[event.node or "", f"replica {event.replica}"],
                    evidence=f"{(event.t_ns - run.begin_ns) / 1e9:,.1f} s after the"
                    " first issue",
                    cause=event.cause or _UNTOLD,
                )
            )
