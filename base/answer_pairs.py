"""Pairs of answers to the same prompt, and how much their tokens agree."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from base.odd_replicas import (
    BoolArray,
    FloatArray,
    IntArray,
    OddReplica,
    length_strata,
    odd_replicas,
)

DIFFERENT = "other tokens"
FAR = "few tokens in common"
_FAR_SHARE = 0.02
"""Share of pairs with the fewest tokens in common, which count as far apart."""


@dataclass(frozen=True, slots=True)
class ReplicaAnswer:
    """One answer and who gave it."""

    qsl_index: int
    replica: int
    """Number of the replica among all replicas of all runs that are compared."""
    tokens: NDArray[np.int32]
    prompt_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPairs:
    """Pairs of answers to the same prompt; no answer is in two pairs."""

    members: IntArray
    """Replicas of both answers, shape (pairs, 2)."""
    prompt_tokens: IntArray
    identical: BoolArray
    common: FloatArray
    """Tokens in common / mean length of both answers, 0 to 1, order ignored."""

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.members)

    @property
    def far(self) -> BoolArray:
        """Whether a pair is among the 2% with the fewest tokens in common."""
        if not len(self):
            return np.zeros(0, bool)
        lowest = self.common <= np.quantile(self.common, _FAR_SHARE)
        return lowest & ~self.identical

    def odd(self) -> list[OddReplica]:
        """Return the replicas whose answers agree less with those of the others."""
        if not len(self):
            return []
        return odd_replicas(
            self.members,
            length_strata(self.prompt_tokens),
            {DIFFERENT: ~self.identical, FAR: self.far},
            {},
        )


def pair_answers(answers: Iterable[ReplicaAnswer]) -> AnswerPairs:
    """Return pairs of answers to the same prompt, in the order in which they come.

    The first answer to a prompt is paired with the second, the third with the fourth.
    """
    waiting: dict[int, ReplicaAnswer] = {}
    pairs: list[tuple[ReplicaAnswer, ReplicaAnswer]] = []
    for answer in answers:
        other = waiting.pop(answer.qsl_index, None)
        if other is None:
            waiting[answer.qsl_index] = answer
        else:
            pairs.append((other, answer))
    members = [(one.replica, other.replica) for one, other in pairs]
    return AnswerPairs(
        members=np.array(members, np.int64).reshape(-1, 2),
        prompt_tokens=np.array([one.prompt_tokens for one, _ in pairs], np.int64),
        identical=np.array(
            [np.array_equal(one.tokens, other.tokens) for one, other in pairs], bool
        ),
        common=np.array([_common(a.tokens, b.tokens) for a, b in pairs], float),
    )


def agreement_by_replica(pairs: AnswerPairs) -> dict[int, tuple[int, int]]:
    """Return the identical pairs and all pairs of each replica with other replicas."""
    found: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    across = pairs.members[:, 0] != pairs.members[:, 1]
    for (one, other), same in zip(
        pairs.members[across].tolist(), pairs.identical[across].tolist(), strict=True
    ):
        for replica in (one, other):
            identical, count = found[replica]
            found[replica] = identical + same, count + 1
    return dict(found)


def _common(one: NDArray[np.int32], other: NDArray[np.int32]) -> float:
    if np.array_equal(one, other):
        return 1.0
    shared = Counter(one.tolist()) & Counter(other.tolist())
    return 2 * shared.total() / (len(one) + len(other))
