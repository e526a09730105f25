"""How the answers of replicas agree, within a run and between runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from base.answer_pairs import (
    AnswerPairs,
    ReplicaAnswer,
    agreement_by_replica,
    pair_answers,
)
from report.reading.run import Run

Location = tuple[str, int]
"""Node and number of a replica: the same replica in every run."""


@dataclass(frozen=True, slots=True)
class AnswerAgreement:
    """Answers to the same prompts, in pairs, and who gave them."""

    locations: list[Location]
    """Of the numbers in `pairs`."""
    pairs: AnswerPairs

    @property
    def by_location(self) -> dict[Location, tuple[int, int]]:
        """Identical pairs and all pairs of each replica with other replicas."""
        found = agreement_by_replica(self.pairs)
        return {self.locations[number]: counts for number, counts in found.items()}


def answer_agreement(runs: Sequence[Run]) -> AnswerAgreement:
    """Return the pairs of answers to the same prompt in all accuracy logs of `runs`."""
    locations = sorted({where for run in runs for where in _locations(run).values()})
    numbers = {where: number for number, where in enumerate(locations)}

    def answers() -> Iterator[ReplicaAnswer]:
        for run in runs:
            own = _locations(run)
            for answer in run.answers:
                yield replace(answer, replica=numbers[own[answer.replica]])

    return AnswerAgreement(locations, pair_answers(answers()))


def _locations(run: Run) -> dict[int, Location]:
    return {number: (node, number) for number, node in run.node_of.items()}
