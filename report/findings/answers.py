"""Findings on answers: replicas that answer differently from the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from base.answer_pairs import DIFFERENT
from report.figures import figure
from report.findings.finding import Finding, Found, Recommendation, Severity
from report.reading.run import Run
from report.reading.traits import differing
from report.statistics.answers import Location, answer_agreement
from report.wording import p_value


@dataclass(slots=True)
class _Odd:
    """What all tests show about one replica."""

    location: Location
    evidence: list[str] = field(default_factory=list)
    measures: list[str] = field(default_factory=list)
    wrong: float = 0.0
    """Answers beyond the share that the others also have."""
    peers: set[str] = field(default_factory=set)


def answer_findings(runs: Sequence[Run]) -> Iterator[Found]:
    """Yield the replicas whose answers differ from those of the others.

    Scores come from the `accuracy.json` of each run, agreement from answers to the same
    prompt in the accuracy logs of all runs. Runs without answers yield nothing.
    """
    odd: dict[Location, _Odd] = {}
    for run in runs:
        _add_scores(odd, run)
    _add_agreement(odd, runs)
    for one in odd.values():
        yield _found(one, runs)


def _add_scores(odd: dict[Location, _Odd], run: Run) -> None:
    for one in run.accuracy.odd_replicas if run.accuracy else []:
        if one.replica is None:
            continue
        location = (one.node or "", one.replica)
        known = odd.setdefault(location, _Odd(location))
        known.measures.append(one.measure)
        known.evidence.append(
            f"{one.measure} of its {one.answers:,} answers in {run.name}:"
            f" {one.own:.3g}{one.unit}, of the others {one.others:.3g}{one.unit}"
            f" ({p_value(one.p)})."
        )
        if one.own > one.others:
            known.wrong += (one.own - one.others) / 100 * one.answers
        if one.peer:
            known.peers.add(one.peer)


def _add_agreement(odd: dict[Location, _Odd], runs: Sequence[Run]) -> None:
    agreement = answer_agreement(runs)
    for one in agreement.pairs.odd():
        location = agreement.locations[one.replica]
        known = odd.setdefault(location, _Odd(location))
        known.measures += [one.measure, *one.also]
        known.evidence.append(
            f"Answers to the same prompts, compared token by token: {one.own:.1%} of"
            f" its {one.units:,} pairs with other replicas have {one.measure}, compared"
            f" with {one.others:.1%} of the pairs without it ({p_value(one.p)})."
        )
        known.wrong = max(known.wrong, (one.own - one.others) * one.units)
        if one.peer is not None:
            known.peers.add(_name(agreement.locations[one.peer]))


def _found(one: _Odd, runs: Sequence[Run]) -> Found:
    name = _name(one.location)
    severity: Severity = "warning"
    if set(one.measures) != {DIFFERENT}:
        severity = "critical"
    title = f"{name} answers differently from the other replicas"
    advice = f"{name}: leave it out until its answers agree with those of the others"
    if one.peers:
        title = f"{name} and {_lower(min(one.peers))} answer differently"
        advice = "Find out which of the two replicas is wrong, and leave it out"
    doubt = (
        " These pairs show that the two replicas differ, not which of them is wrong."
        if one.peers
        else ""
    )
    return Found(
        finding=Finding(
            code="answers",
            severity=severity,
            title=title,
            where=[f"replica {one.location[1]}"],
            evidence=" ".join(one.evidence) + doubt,
            cause=_cause(one.location, runs),
            measure="Test its device (dcgmi diag -r 3), then answer the same samples"
            " again with this replica on another device of the same kind.",
        ),
        advice=Recommendation(
            finding="answers",
            where=[f"replica {one.location[1]}"],
            text=f"{advice}. Do not use scores of these runs",
            estimate=figure(
                max(1, round(one.wrong)),
                "answers",
                "its differing answers, less the share that other replicas also have",
            ),
        ),
    )


def _cause(location: Location, runs: Sequence[Run]) -> str:
    """Return what the record shows of the replica: its setup and memory errors."""
    _, number = location
    texts = []
    for run in runs:
        if run.node_of.get(number) != location[0]:
            continue
        errors = run.telemetry.devices.of(number, "ecc_errors")
        if len(errors) and errors.max() > 0:
            texts.append(
                f"Its device counted {errors.max():,.0f} uncorrected memory errors."
            )
        for trait in differing(run.replicas):
            values = trait.groups()
            if number in trait.values and values[0][1] == [number]:
                texts.append(
                    f"Its setup differs from that of the others: {trait.name}"
                    f" {trait.text(trait.values[number])}."
                )
    known = " ".join(dict.fromkeys(texts))
    return known or (
        "The record shows no other difference. Possible causes: memory errors that"
        " were not counted, a faulty device, different weights or a different kernel."
    )


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]


def _name(location: Location) -> str:
    node, number = location
    return f"Replica {number}" + (f" on {node}" if node else "")
