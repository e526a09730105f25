"""Findings on samples that were lost or retried, and on replicas that left the run."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from report.figures import figure
from report.findings.finding import Finding, Found, Recommendation
from report.reading.run import Absence, Run
from report.reading.samples import UNKNOWN
from report.wording import (
    NOT_RECORDED,
    capitalized,
    count,
    name_replicas,
    sentence,
    some,
)


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
    nodes = Counter(
        run.node_of.get(int(replica), "no replica") for replica in lost.replica
    )
    replicas = sorted({int(r) for r in lost.replica if r != UNKNOWN})
    causes = [
        f"replica {one.replica} on {one.node}: {one.cause}"
        for one in run.absences
        if one.replica in replicas
    ]
    aborted = run.verdict.reason if run.verdict.outcome == "aborted" else ""
    share = len(lost) / total
    where = ", ".join(f"{n:,} on {node}" for node, n in nodes.most_common(4))
    all_on = f", all on {next(iter(nodes))}" if len(nodes) == 1 else f" ({where})"
    possible = total / run.wall_s if run.wall_s else 0.0
    yield Found(
        finding=Finding(
            code="lost",
            severity="critical",
            title=f"{len(lost):,} of {count(total, 'sample')}"
            f" {'was' if len(lost) == 1 else 'were'} lost ({100 * share:.3g}%){all_on}",
            where=[*nodes],
            evidence=f"Lost samples: {where}. Sequence numbers:"
            f" {some(sorted(lost.seq.tolist()))}.",
            cause=sentence("; ".join(dict.fromkeys(causes)) or aborted or NOT_RECORDED),
            measure=""
            if causes or aborted
            else "Read the log of each of these replicas under replicas/ in the run"
            " folder.",
        ),
        advice=Recommendation(
            finding="lost",
            where=[*nodes],
            text="fix the cause of the lost samples before you use any speed of this"
            " run",
            estimate=figure(
                round(possible - run.samples_per_s, 4),
                "samples/s",
                "lost samples / wall time: throughput that they would have added if"
                " they had completed in the same time",
            ),
        ),
    )


def _fenced(run: Run) -> Iterator[Found]:
    for one in run.absences:
        name = f"replica {one.replica} on {one.node}"
        own = run.done.where(run.done.replica == one.replica)
        before = int((own.completed <= one.begin_ns).sum())
        back = (
            "It did not come back."
            if one.end_ns is None
            else f"It came back {(one.end_ns - one.begin_ns) / 1e9:,.1f} s later."
        )
        yield Found(
            finding=Finding(
                code="fenced",
                severity="critical",
                title=f"{capitalized(name)} was fenced",
                where=[one.node or "", f"replica {one.replica}"],
                evidence=f"It was fenced {(one.begin_ns - run.begin_ns) / 1e9:,.1f} s"
                " after the first issue. It had completed"
                f" {count(before, 'sample')}. {back}",
                cause=sentence(one.cause or NOT_RECORDED),
            ),
            advice=_cost(run, one, name),
        )


def _cost(run: Run, one: Absence, name: str) -> Recommendation | None:
    """Return the cost of an absence, at the rate of the replica or of the others."""
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
        text=f"find out why {name} was fenced (replicas/replica-{one.replica}.log)",
        estimate=figure(
            round(rate * away_s / run.wall_s, 2),
            "tokens/s",
            f"{whose} while part of the run x share of the run without it: throughput"
            " that the absence cost",
        ),
    )


def _rate(run: Run, replicas: list[int]) -> float:
    """Return the mean output tokens/s of replicas while they were part of the run."""
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
                title=f"{count(len(changed), 'recomputed answer')}"
                f" {'begins' if len(changed) == 1 else 'begin'} with another token",
                evidence=f"Sequence numbers: {some(seqs)}."
                if seqs
                else "No sample was named.",
                cause=sentence("; ".join(sorted({e.cause for e in changed}))),
            )
        )


def _retried(run: Run) -> Iterator[Found]:
    again = run.done.where(run.done.attempt > 1)
    if not len(again):
        return
    causes = Counter(e.cause for e in run.events if e.kind == "retry")
    replicas = sorted(
        {e.replica for e in run.events if e.kind == "retry" and e.replica is not None}
    )
    yield Found(
        finding=Finding(
            code="retried",
            severity="warning",
            title=f"{count(len(again), 'sample')}"
            f" {'was' if len(again) == 1 else 'were'} dispatched more than once",
            where=[f"replica {r}" for r in replicas],
            evidence=f"Sequence numbers: {some(sorted(again.seq.tolist()))}."
            + (f" They came from {name_replicas(replicas)}." if replicas else ""),
            cause=sentence(
                "; ".join(f"{cause} ({n:,})" for cause, n in causes.most_common(3))
                or NOT_RECORDED
            ),
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
                    evidence=f"It came back {(event.t_ns - run.begin_ns) / 1e9:,.1f} s"
                    " after the first issue.",
                    cause=sentence(event.cause or NOT_RECORDED),
                )
            )
