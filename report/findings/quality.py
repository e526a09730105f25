"""Answers, limits, devices and settings that a reader must know of."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from report.figures import figure
from report.findings.finding import Finding, Found, Recommendation, some
from report.reading.run import Run
from report.rendering.words import count
from report.sections.validity import agreement
from report.statistics.blocks import ALONE, overlap
from report.statistics.comparison import Comparison

MAX_TOKENS = 128
"""Longest answer that the benchmark allows."""
_COLD = 0.25
_FEWEST_LATER = 4
_AS_SLOW = 0.02
"""Share of later samples that may be as slow as a first one that was cold."""


def quality(run: Run, nodes: Comparison) -> Iterator[Found]:
    """Yield what speaks against the run's figures, or limits what they mean."""
    yield from _gate(run)
    yield from _disagreement(run)
    yield from _token_counts(run)
    yield from _ecc(run)
    yield from _first_samples(run, nodes)
    yield from _missing(run)


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
                    title=f"The run is not valid: {check.name.replace('_', ' ')}",
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
                title="The record disagrees with LoadGen in"
                f" {count(len(wrong), 'figure')}",
                evidence="; ".join(
                    f"{row[0]}: {row[1]} against {row[2]} {row[3]}" for row in wrong
                ),
                cause="the record and LoadGen's log hold different samples or times: do"
                " not use figures of this run until the difference is explained",
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


@dataclass(slots=True, kw_only=True)
class FirstSample:
    """The first sample of some replicas against their later ones, per output token."""

    excess: float
    """Its time per output token / the median of the later samples, less 1."""
    extra_s: float
    """Its service latency less what the median gives for its tokens."""
    slower: int
    """Later samples that took at least as long per token."""
    later: int
    fence: float
    """`excess` from which it lies outside the later ones: 3 interquartile ranges."""

    @property
    def cold(self) -> bool:
        """Whether it was slower than the later ones are."""
        return self.excess > max(_COLD, self.fence) and (
            self.slower <= _AS_SLOW * self.later
        )


def first_sample(run: Run, replicas: list[int]) -> FirstSample | None:
    """Return the first sample dispatched to `replicas` against the later ones.

    Per output token, since a short answer is no sign of warmth. None for fewer than
    four later samples, and where latencies or tokens are not known.
    """
    own = run.done.where(np.isin(run.done.replica, replicas))
    if not len(own) or not (own.output_tokens > 0).all():
        return None
    times = own.service_ns / own.output_tokens
    place = int(own.dispatched.argmin())
    later = np.delete(times, place)
    if len(later) < _FEWEST_LATER or np.isnan(times).any() or not later.min() > 0:
        return None
    low, middle, high = np.percentile(later, (25, 50, 75))
    return FirstSample(
        excess=float(times[place] / middle) - 1,
        extra_s=float((times[place] - middle) * own.output_tokens[place]) / 1e9,
        slower=int((later >= times[place]).sum()),
        later=len(later),
        fence=float((high + 3 * (high - low)) / middle) - 1,
    )


def _first_samples(run: Run, nodes: Comparison) -> Iterator[Found]:
    """Where samples did not overlap, the first against the later ones shows warmth."""
    if not len(run.done) or overlap(run.done, nodes.groups) > ALONE:
        return
    cold = {
        name: first
        for name, own in zip(nodes.names, nodes.members, strict=True)
        if (first := first_sample(run, own)) is not None and first.cold
    }
    if not cold:
        return
    yield Found(
        finding=Finding(
            code="cold.first",
            severity="warning",
            title="The first sample of "
            + ("each node" if len(cold) == len(nodes.names) > 1 else some([*cold]))
            + " was slower than the later ones",
            where=[*cold],
            evidence="time per output token against the median of the later samples: "
            + ", ".join(
                f"{name} {one.excess:+.1%} ({one.slower} of {one.later} later ones took"
                " as long)"
                for name, one in cold.items()
            ),
            cause="what a first request pays (compilation, allocation, cold caches)"
            " fell into the measured time",
        ),
        advice=Recommendation(
            finding="cold.first",
            where=[*cold],
            text="warm every replica with requests of the run's shapes before the clock"
            " starts",
            estimate=figure(
                round(sum(one.extra_s for one in cold.values()), 3),
                "s",
                "first sample's latency less the median time per output token x its"
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
                evidence="; ".join(run.notes),
                cause="the run did not write these files, or did not finish them",
            )
        )
