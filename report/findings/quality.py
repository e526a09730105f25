"""Findings on answers, limits, devices and records that limit what a run shows."""

from collections.abc import Iterator

from report.figures import figure
from report.findings.finding import Finding, Found, Recommendation
from report.reading.run import Run
from report.statistics.agreement import COUNTS, agreement
from report.statistics.blocks import ALONE, overlap
from report.statistics.comparison import GroupComparison
from report.statistics.first_sample import first_sample
from report.wording import NOT_RECORDED, cell, count, name_replicas, sentence, some

_NO_NOTE = "the rules of the run require this value"


def quality(run: Run, nodes: GroupComparison) -> Iterator[Found]:
    """Yield what makes figures of the run invalid, or limits what they mean."""
    yield from _gate(run)
    yield from _disagreement(run)
    yield from _token_counts(run)
    yield from _ecc(run)
    yield from _first_samples(run, nodes)
    yield from _missing(run)


def _gate(run: Run) -> Iterator[Found]:
    reported = {"samples_lost", "samples_completed"} if len(run.lost) else set[str]()
    if any(event.kind == "clock" for event in run.events):
        reported.add("clock")
    for check in run.verdict.failures:
        if check.name not in reported:
            yield Found(
                finding=Finding(
                    code=f"gate.{check.name}",
                    severity="critical",
                    title=f"The run is not valid: the check {check.name} failed",
                    evidence=f"Required: {cell(check.limit)}. Found:"
                    f" {cell(check.value)}.",
                    cause=sentence(check.note or _NO_NOTE),
                )
            )
    if run.verdict.outcome == "aborted":
        yield Found(
            finding=Finding(
                code="aborted",
                severity="critical",
                title="The run was aborted",
                evidence=f"It completed {count(len(run.done), 'sample')} in"
                f" {run.wall_s:,.1f} s before it was aborted.",
                cause=sentence(run.verdict.reason or NOT_RECORDED),
            )
        )


def _disagreement(run: Run) -> Iterator[Found]:
    reported = COUNTS if len(run.lost) else set[str]()
    wrong = [
        one for one in agreement(run) if not one.agrees and one.figure not in reported
    ]
    if wrong:
        yield Found(
            finding=Finding(
                code="disagreement",
                severity="critical",
                title="The record disagrees with LoadGen's log in"
                f" {count(len(wrong), 'figure')}",
                evidence="; ".join(
                    f"{one.figure}: {cell(one.ours)} in the record,"
                    f" {cell(one.loadgen)} {one.unit} in LoadGen's log"
                    for one in wrong
                )
                + ".",
                cause="The record and LoadGen's log contain different samples or times."
                " Do not use figures of this run before the difference is explained.",
            )
        )


def _token_counts(run: Run) -> Iterator[Found]:
    tokens = run.done.output_tokens
    limit = run.settings.max_output_tokens
    long = sorted(run.done.seq[tokens > limit].tolist())
    if long:
        yield Found(
            finding=Finding(
                code="tokens.long",
                severity="critical",
                title=f"{count(len(long), 'answer')}"
                f" {'has' if len(long) == 1 else 'have'} more than {limit} tokens",
                evidence=f"Sequence numbers: {some(long)}.",
                cause="The limit was not applied, or tokens were counted twice.",
            )
        )
    single = sorted(run.done.seq[tokens == 1].tolist())
    if single:
        yield Found(
            finding=Finding(
                code="tokens.single",
                severity="warning",
                title=f"{count(len(single), 'answer')}"
                f" {'has' if len(single) == 1 else 'have'} a single token",
                evidence=f"Sequence numbers: {some(single)}.",
                cause="The model ended its answer at once. LoadGen logs an error for"
                " each such answer.",
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
                evidence="The number of uncorrected errors rose during the run on"
                f" {name_replicas(bad)}.",
                cause="The memory of the device is failing.",
                measure="Run dcgmi diag -r 3; replace the device if errors return.",
            )
        )


def _first_samples(run: Run, nodes: GroupComparison) -> Iterator[Found]:
    """Where samples did not overlap, a slow first sample shows a cold start."""
    if not len(run.done) or overlap(run.done, nodes.group_of_sample) > ALONE:
        return
    cold = {
        name: first
        for name, own in zip(nodes.names, nodes.groups, strict=True)
        if (first := first_sample(run, own)) is not None and first.cold
    }
    if not cold:
        return
    everywhere = len(cold) == len(nodes.names) > 1
    yield Found(
        finding=Finding(
            code="cold.first",
            severity="warning",
            title=f"The first sample of {'each node' if everywhere else some([*cold])}"
            " was slower than the later ones",
            where=[*cold],
            evidence="Time per output token compared with the median of later samples: "
            + ", ".join(
                f"{name} {one.excess:+.1%} ({one.slower} of"
                f" {count(one.later, 'later sample')} took as long)"
                for name, one in cold.items()
            )
            + ".",
            cause="The cost of a first request (compilation, allocation, cold caches)"
            " was part of the measured time.",
        ),
        advice=Recommendation(
            finding="cold.first",
            where=[*cold],
            text="warm up every replica with requests of the run's shapes before"
            " LoadGen's clock starts",
            estimate=figure(
                round(sum(one.extra_s for one in cold.values()), 3),
                "s",
                "latency of the first sample less median time per output token x its"
                " tokens, summed over nodes",
            ),
        ),
    )


def _missing(run: Run) -> Iterator[Found]:
    if run.notes:
        yield Found(
            finding=Finding(
                code="data",
                severity="note",
                title="Parts of the record are missing",
                evidence=sentence("; ".join(run.notes)),
                cause="The run did not write these files, or did not finish them.",
            )
        )
