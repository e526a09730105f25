"""What one run of a qualification showed of each replica, read from its folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from campaigns.qualify.record import (
    HardwareFact,
    OddAnswers,
    QualifyRun,
    ReplicaMeasure,
)
from record.latency_limits import latency_limits
from report.findings.hardware import hardware
from report.reading.folder import read_run
from report.reading.run import Run
from report.reading.samples import Samples
from report.statistics.answers import answer_agreement
from report.statistics.rates import RATE_CHECKS
from report.wording import p_value

_EDGE = 0.2
"""Share of the completions at each end of a run that does not count: engines fill up
and run empty there."""
_FEWEST = 10
_IGNORED = RATE_CHECKS | {"accuracy_scored", "loadgen_validity"}
"""Checks of the gate on latency, which are made for each replica here, and on scores:
answers are compared with each other."""


def fill(made: QualifyRun, folder: Path) -> Run:
    """Add to `made` what the run in `folder` showed; return the run.

    Raises:
        RecordError: the folder is damaged.
    """
    run = read_run(folder)
    if run.streaming:
        limits = latency_limits(run.settings)
        made.percentile = limits.percentile
        made.ttft_limit_ms = limits.ttft_ms
        made.tpot_limit_ms = limits.tpot_ms
    died = _died(run)
    facts = _hardware(run)
    known = {record.replica for record in run.replicas}
    for record in run.replicas:
        number = record.replica
        measure = ReplicaMeasure(
            replica=number,
            node=record.node,
            devices=record.devices,
            died=died.get(number, ("", ""))[1],
            hardware=facts.get(number, []),
        )
        _add_samples(measure, run.by_replica[number], made.percentile)
        _add_devices(measure, run)
        made.measures.append(measure)
    for number, (node, cause) in died.items():
        if number not in known:
            made.measures.append(
                ReplicaMeasure(replica=number, node=node, devices=[], died=cause)
            )
    made.measures.sort(key=lambda measure: measure.replica)
    made.problems = _problems(run, bool(died))
    return run


def odd_answers(runs: Sequence[Run]) -> tuple[list[OddAnswers], int]:
    """Return the replicas that answer differently, and the number of pairs compared."""
    agreement = answer_agreement(runs)
    found = []
    for one in agreement.pairs.odd():
        node, number = agreement.locations[one.replica]
        text = (
            f"{one.own:.1%} of its {one.units:,} pairs of answers to the same prompt"
            f" have {one.measure}, compared with {one.others:.1%} of the pairs without"
            f" it ({p_value(one.p)})"
        )
        peers = [] if one.peer is None else [agreement.locations[one.peer]]
        for node_of, replica in [(node, number), *peers]:
            doubt = " (one of the two is wrong, but the answers do not show which)"
            found.append(
                OddAnswers(
                    replica=replica, node=node_of, text=text + (doubt if peers else "")
                )
            )
    return found, len(agreement.pairs)


def steady_rate(samples: Samples) -> float | None:
    """Return output tokens/s in the middle of a run; None: too few samples.

    It is the slope of the tokens that were completed over time (least squares), from
    20% to 80% of the completions: where engines answer in waves, their ends do not
    decide it.
    """
    if len(samples) < _FEWEST:
        return None
    order = np.argsort(samples.completed, kind="stable")
    seconds = (samples.completed[order] - samples.completed.min()) / 1e9
    tokens = np.cumsum(samples.output_tokens[order]).astype(float)
    edge = int(_EDGE * len(samples))
    seconds, tokens = seconds[edge : len(samples) - edge], tokens[edge:]
    tokens = tokens[: len(seconds)]
    spread = float(np.sum((seconds - seconds.mean()) ** 2))
    if not spread > 0:
        return None
    slope = float(np.sum((seconds - seconds.mean()) * tokens)) / spread
    return slope if slope > 0 else None


def _died(run: Run) -> dict[int, tuple[str, str]]:
    """Return node and cause of each replica that was fenced."""
    return {
        event.replica: (event.node or "", event.cause)
        for event in run.events
        if event.kind == "fence" and event.replica is not None
    }


def _problems(run: Run, died: bool) -> list[str]:
    """Return what failed and is not the matter of one replica."""
    verdict = run.verdict
    if verdict.ended_early:
        return [] if died else [verdict.reason]
    return [check.reason for check in verdict.failures if check.name not in _IGNORED]


def _add_samples(
    measure: ReplicaMeasure, samples: Samples, percentile: float | None
) -> None:
    measure.samples = len(samples)
    if len(samples):
        measure.tokens_per_sample = float(samples.output_tokens.mean())
    if percentile is None:
        measure.tokens_per_s = steady_rate(samples)
    elif len(samples) >= _FEWEST:
        tpot = samples.tpot_ns[~np.isnan(samples.tpot_ns)] / 1e6
        measure.ttft_ms = float(np.quantile(samples.ttft_ns / 1e6, percentile))
        if len(tpot):
            measure.tpot_ms = float(np.quantile(tpot, percentile))
            measure.tpot_ms_p50 = float(np.median(tpot))


def _add_devices(measure: ReplicaMeasure, run: Run) -> None:
    for name in ("sm_clock_mhz", "power_w", "temperature_c"):
        values = run.measured.devices.of(measure.replica, name)
        if len(values):
            setattr(measure, name, round(float(values.mean()), 1))


def _hardware(run: Run) -> dict[int, list[HardwareFact]]:
    facts: dict[int, list[HardwareFact]] = {}
    for found in hardware(run):
        finding = found.finding
        for record in run.replicas:
            if f"replica {record.replica}" in finding.where:
                facts.setdefault(record.replica, []).append(
                    HardwareFact(
                        code=finding.code,
                        severity=finding.severity,
                        text=f"{finding.title}. {finding.evidence}",
                    )
                )
    for record in run.replicas:
        errors = run.measured.devices.of(record.replica, "ecc_errors")
        if len(errors) and errors.max() > 0:
            facts.setdefault(record.replica, []).append(
                HardwareFact(
                    code="ecc.uncorrected",
                    severity="critical",
                    text=f"Its memory had {errors.max():,.0f} uncorrected errors since"
                    " the driver was loaded.",
                )
            )
    return facts
