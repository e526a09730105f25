"""The answers of each replica: scores, agreement between runs, odd replicas."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy.answers import FirstAnswers
from accuracy.rouge import METRICS
from base.answer_pairs import ReplicaAnswer, agreement_by_replica, pair_answers
from base.odd_replicas import LEVEL, OddReplica, length_strata, odd_replicas
from record.answers import OddAnswers, ReplicaScores

METHOD = (
    "Each replica against all others: exact test of the share of answers, within"
    " groups of equal prompt length, and Welch's t test of the mean score. The level"
    f" is {LEVEL:.0%} for all replicas and measures together (Bonferroni)."
)
LOW_SCORES = "answers among the 2% with the lowest rougeL"
_LOW_SHARE = 0.02
_MEASURE = "rougeL"

ReplicaName = tuple[str | None, int | None]
"""Node and number."""


@dataclass(slots=True, kw_only=True)
class ReplicaAgreement:
    """How often the answers of a replica equal those of other replicas."""

    node: str | None
    replica: int | None
    identical: int
    pairs: int


def scores_by_replica(
    answers: FirstAnswers, fmeasures: NDArray[np.float64]
) -> tuple[list[ReplicaScores], list[OddAnswers]]:
    """Return the scores of each replica of a run, and the replicas that are odd.

    Args:
        answers: one answer of each index.
        fmeasures: ROUGE of each answer and metric, 0 to 1, shape (answers, metrics).
    """
    names = sorted(set(answers.replicas), key=str)
    numbers = {name: number for number, name in enumerate(names)}
    owner = np.array([numbers[name] for name in answers.replicas], np.int64)
    lengths = np.array([len(answer.tokens) for answer in answers.first], float)
    rows = [
        ReplicaScores(
            node=name[0],
            replica=name[1],
            answers=int((owner == number).sum()),
            scores=dict(
                zip(
                    METRICS,
                    (100 * fmeasures[owner == number].mean(axis=0)).tolist(),
                    strict=True,
                )
            ),
            tokens_per_sample=float(lengths[owner == number].mean()),
        )
        for name, number in numbers.items()
    ]
    score = 100 * fmeasures[:, METRICS.index(_MEASURE)]
    odd = odd_replicas(
        owner[:, None],
        length_strata(np.array(answers.prompt_tokens, np.int64)),
        {LOW_SCORES: score <= np.quantile(score, _LOW_SHARE)},
        {_MEASURE: score},
    )
    return rows, [_named(one, names) for one in odd]


def agreement_of_runs(
    runs: Sequence[FirstAnswers],
) -> tuple[list[ReplicaAgreement], list[OddAnswers]]:
    """Return how often replicas agree over two runs, and the replicas that are odd.

    A replica of the same node and number counts as the same replica in both runs.
    """
    names = sorted({name for run in runs for name in run.replicas}, key=str)
    numbers = {name: number for number, name in enumerate(names)}
    pairs = pair_answers(
        ReplicaAnswer(answer.qsl_index, numbers[name], answer.tokens, length)
        for run in runs
        for answer, name, length in zip(
            run.first, run.replicas, run.prompt_tokens, strict=True
        )
    )
    found = agreement_by_replica(pairs)
    rows = [
        ReplicaAgreement(
            node=names[number][0],
            replica=names[number][1],
            identical=identical,
            pairs=count,
        )
        for number, (identical, count) in sorted(found.items())
    ]
    return rows, [_named(one, names) for one in pairs.odd()]


def replica_name(node: str | None, replica: int | None) -> str:
    """Return `replica 3 on n1`."""
    return f"replica {replica}" + (f" on {node}" if node else "")


def describe(one: OddAnswers) -> str:
    """Return what is odd about a replica's answers, in one line."""
    name = replica_name(one.node, one.replica)
    values = (
        f"{one.measure}: {one.own:.4g}{one.unit}, others {one.others:.4g}{one.unit}"
    )
    which = f"; or {one.peer} is the wrong one" if one.peer else ""
    return f"{name} answers differently ({values}; p = {one.p:.1g}){which}"


def _named(one: OddReplica, names: Sequence[ReplicaName]) -> OddAnswers:
    node, replica = names[one.replica]
    scale = 1.0 if one.measure == _MEASURE else 100.0
    return OddAnswers(
        node=node,
        replica=replica,
        measure=one.measure,
        own=scale * one.own,
        others=scale * one.others,
        unit="%",
        answers=one.units,
        p=one.p,
        peer="" if one.peer is None else replica_name(*names[one.peer]),
    )
