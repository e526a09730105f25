"""Samples that were lost or handed out again, and replicas that left."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from report.figures import figure
from report.findings.finding import (
    Finding,
    Found,
    Recommendation,
    name_replicas,
    some,
)
from report.reading.run import Absence, Run
from report.reading.samples import UNKNOWN
from report.rendering.words import count

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
        f"replica {one.replica} on {one.node}: {one.cause}"
        for one in run.absences
        if one.replica in replicas
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
            text="fix what lost the samples before you judge any speed of this run",
            estimate=figure(
                round(could - run.samples_per_s, 4),
                "samples/s",
                "lost samples / wall time: what completing them in the same time"
                " would have added",
            ),
        ),
    )


def _fenced(run: Run) -> Iterator[Found]:
    for one in run.absences:
        place = f"replica {one.replica} on {one.node}"
        own = run.done.where(run.done.replica == one.replica)
        before = int((own.completed <= one.begin_ns).sum())
        back = (
            "it did not come back"
            if one.end_ns is None
            else f"it came back {(one.end_ns - one.begin_ns) / 1e9:,.1f} s later"
        )
        yield Found(
            finding=Finding(
                code="fenced",
                severity="critical",
                title=f"{place[0].upper()}{place[1:]} left the run",
                where=[one.node or "", f"replica {one.replica}"],
                evidence=f"{(one.begin_ns - run.begin_ns) / 1e9:,.1f} s after the first"
                f" issue; it had completed {count(before, 'sample')}; {back}",
                cause=one.cause or _UNTOLD,
            ),
            advice=_keep(run, one, place),
        )


def _keep(run: Run, one: Absence, place: str) -> Recommendation | None:
    """Return what the absence cost, at the rate of the replica or of the others."""
    end_ns = run.end_ns if one.end_ns is None else one.end_ns
    away_s = (min(end_ns, run.end_ns) - max(one.begin_ns, run.begin_ns)) / 1e9
    rate, whose = _rate(run, [one.replica]), "its tokens/s"
    if not rate:
        rate = _rate(run, [r.replica for r in run.replicas if r.replica != one.replica])
        whose = "the other replicas' mean tokens/s"
    if away_s <= 0 or not rate or not run.wall_s:
        return None
    return Recommendation(
        finding="fenced",
        where=[f"replica {one.replica}"],
        text=f"find out why {place} left: replicas/replica-{one.replica}.log",
        estimate=figure(
            round(rate * away_s / run.wall_s, 2),
            "tokens/s",
            f"{whose} while part of the run x the share of the run without it: the"
            " capacity that its absence cost",
        ),
    )


def _rate(run: Run, replicas: list[int]) -> float:
    """Return output tokens/s of a replica while it was part of the run, mean."""
    seconds = sum(run.present_s(replica) for replica in replicas)
    tokens = run.done.output_tokens[np.isin(run.done.replica, replicas)].sum()
    return float(tokens) / seconds if seconds else 0.0


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
    yield Found(
        finding=Finding(
            code="retried",
            severity="warning",
            title=f"{count(len(again), 'sample')} handed out more than once",
            where=[f"replica {r}" for r in places],
            evidence=f"seq {some(sorted(again.seq.tolist()))}"
            + (f"; from {name_replicas(places)}" if places else ""),
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
