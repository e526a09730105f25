"""Answers, limits, devices and settings that a reader must know of."""

from collections.abc import Iterator

import numpy as np

from report.blocks import overlap
from report.comparison import Comparison
from report.figures import figure
from report.findings.finding import Finding, Found, Recommendation, count, some
from report.run import Run
from report.validity import agreement

MAX_TOKENS = 128
"""Longest answer that the benchmark allows."""
_COLD = 0.25
_ALONE = 1.2


def quality(run: Run, nodes: Comparison) -> Iterator[Found]:
    """Yield what speaks against the run's figures, or limits what they mean."""
    yield from _gate(run)
    yield from _disagreement(run)
    yield from _token_counts(run)
    yield from _ecc(run)
    yield from _first_samples(run, nodes)
    yield from _missing(run)
    yield from _relaxed(run)


def _gate(run: Run) -> Iterator[Found]:
    told = {"samples_lost", "samples_completed"} if len(run.lost) else set[str]()
    if any(event.kind == "clock" for event in run.events):
        told.add("clock")
    for check in run.verdict.failures:
        if check.name not in told:
            yield Found(
                finding=Finding(
                    code=f"gate.{check.name}",
                    severity="critical",
                    title=f"The gate refuses the run: {check.name}",
                    evidence=f"value {check.value}, limit {check.limit}",
                    cause=check.note or "not shown by the record",
                )
            )
    if run.verdict.outcome == "aborted":
        yield Found(
            finding=Finding(
                code="aborted",
                severity="critical",
                title="The run was aborted",
                evidence=f"{count(len(run.done), 'sample')} completed in"
                f" {run.wall_s:,.1f} s before the end",
                cause=run.verdict.reason or "not shown by the record",
            )
        )


def _disagreement(run: Run) -> Iterator[Found]:
    told = {"samples", "different samples"} if len(run.lost) else set[str]()
    wrong = [row for row in agreement(run) if not row[6] and row[0] not in told]
    if wrong:
        yield Found(
            finding=Finding(
                code="disagreement",
                severity="critical",
                title=f"{count(len(wrong), 'figure')} of ours disagree with LoadGen's",
                evidence="; ".join(
                    f"{row[0]}: {row[1]} against {row[2]} {row[3]}" for row in wrong
                ),
                cause="record and log tell of different samples or times: trust neither"
                " before this is understood",
            )
        )


def _token_counts(run: Run) -> Iterator[Found]:
    tokens = run.done.output_tokens
    for seqs, severity, title, cause in (
        (
            run.done.seq[tokens > MAX_TOKENS],
            "critical",
            f"longer than {MAX_TOKENS} tokens",
            "the limit was not applied, or tokens were counted twice",
        ),
        (
            run.done.seq[tokens == 1],
            "warning",
            "a single token long",
            "the model ended its answer at once; LoadGen logs an error for each",
        ),
    ):
        if len(seqs):
            yield Found(
                finding=Finding(
                    code="tokens.long" if severity == "critical" else "tokens.single",
                    severity="critical" if severity == "critical" else "warning",
                    title=f"{count(len(seqs), 'answer')} {title}",
                    evidence=f"seq {some(sorted(seqs.tolist()))}",
                    cause=cause,
                )
            )


def _ecc(run: Run) -> Iterator[Found]:
    bad = []
    for record in run.replicas:
        errors = run.measured.devices.of(record.replica, "ecc_errors")
        if len(errors) and errors[-1] > errors[0]:
            bad.append(record.replica)
    if bad:
        yield Found(
            finding=Finding(
                code="ecc",
                severity="critical",
                title=f"Uncorrected memory errors on {count(len(bad), 'replica')}",
                where=[f"replica {r}" for r in bad],
                evidence=f"replica {some(bad)}: the device's count rose during the run",
                cause="the device's memory is failing",
            )
        )


def first_sample_penalty(run: Run, replicas: list[int]) -> float | None:
    """Return (first sample's latency - fastest's) / fastest's in percent, or None.

    The first is the earliest dispatched to `replicas`; latency is dispatch to
    completion.
    """
    own = run.done.where(np.isin(run.done.replica, replicas))
    service = own.service_ns
    if len(own) < 2 or np.isnan(service).any() or not service.min() > 0:
        return None
    first = service[own.dispatched.argmin()]
    return float((first - service.min()) / service.min() * 100)


def _first_samples(run: Run, nodes: Comparison) -> Iterator[Found]:
    """Where samples did not overlap, the first against the fastest tells of warmth."""
    if not len(run.done) or overlap(run.done, nodes.groups) > _ALONE:
        return
    slow = {
        name: penalty
        for name, own in zip(nodes.names, nodes.members, strict=True)
        if (penalty := first_sample_penalty(run, own)) is not None
        and penalty > 100 * _COLD
    }
    if not slow:
        return
    done = run.done
    wasted = sum(
        float(service[own.dispatched.argmin()] - np.median(service))
        for members in nodes.members
        if len(own := done.where(np.isin(done.replica, members)))
        and len(service := own.service_ns)
    )
    yield Found(
        finding=Finding(
            code="cold.first",
            severity="warning",
            title="The first sample of "
            + ("each node" if len(slow) == len(nodes.names) > 1 else some([*slow]))
            + " was far slower than the fastest",
            where=[*slow],
            evidence=", ".join(f"{n}: {p:+.1f}%" for n, p in slow.items()),
            cause="what a first request pays (compilation, allocation, cold caches)"
            " fell into the measured time",
        ),
        advice=Recommendation(
            finding="cold.first",
            where=[*slow],
            text="warm every replica with requests of the run's shapes before the clock"
            " starts",
            estimate=figure(
                round(wasted / 1e9, 3),
                "s",
                "first sample's latency less the node's median, summed over nodes",
            ),
        ),
    )


def _missing(run: Run) -> Iterator[Found]:
    if run.notes:
        yield Found(
            finding=Finding(
                code="data",
                severity="note",
                title="Not everything was recorded",
                evidence="; ".join(run.notes),
                cause="files that this run did not write, or not to the end",
            )
        )


def _relaxed(run: Run) -> Iterator[Found]:
    if run.verdict.relaxed:
        yield Found(
            finding=Finding(
                code="relaxed",
                severity="note",
                title="Not an MLPerf result: settings were relaxed",
                evidence="; ".join(run.verdict.relaxed),
                cause="run=smoke shortens and relaxes by design",
            )
        )
