import math
from collections.abc import Callable

import numpy as np
import pytest

from base.answer_pairs import DIFFERENT, AnswerPairs, ReplicaAnswer, pair_answers
from base.odd_replicas import OddReplica, length_strata, more_marked, odd_replicas
from benchmarks.odd_replicas import Case, found_in_pairs, found_in_scores


def _floats(*values: float) -> np.ndarray:
    return np.array(values, float)


def _chance(hits: int, everyone: int, marked: int, drawn: int) -> float:
    """Return the hypergeometric probability of `hits` marked ones among the drawn."""
    ways = math.comb(marked, hits) * math.comb(everyone - marked, drawn - hits)
    return ways / math.comb(everyone, drawn)


def test_one_stratum_is_the_hypergeometric_distribution() -> None:
    p = more_marked(_floats(50), _floats(150), _floats(12), _floats(8))
    assert p == pytest.approx(sum(_chance(hits, 200, 20, 50) for hits in range(12, 21)))


def test_strata_are_tested_together_exactly() -> None:
    mine, rest, hits, others = (
        _floats(*values) for values in ((8, 5), (10, 30), (6, 3), (2, 2))
    )
    seen = int(hits.sum())
    expected = sum(
        _chance(a, 18, 8, 8) * _chance(b, 35, 5, 5)
        for a in range(9)
        for b in range(6)
        if a + b >= seen
    )
    assert more_marked(mine, rest, hits, others) == pytest.approx(expected)


def test_fewer_marks_than_expected_are_not_odd() -> None:
    assert more_marked(_floats(50), _floats(150), _floats(1), _floats(19)) > 0.5
    assert more_marked(_floats(50), _floats(150), _floats(0), _floats(0)) == 1.0


def test_longer_prompts_of_one_replica_are_no_fault() -> None:
    rng = np.random.default_rng(3)
    owner = np.repeat([0, 1], 2000)
    lengths = np.where(owner == 1, rng.integers(900, 2000, 4000), 0)
    lengths = np.where(owner == 0, rng.integers(100, 1400, 4000), lengths)
    marked = rng.random(4000) < lengths / 4000
    members = owner[:, None]
    assert odd_replicas(members, length_strata(lengths), {"m": marked}, {}) == []
    blind = odd_replicas(members, np.zeros(4000, int), {"m": marked}, {})
    assert [one.replica for one in blind] == [1]


@pytest.mark.parametrize(
    "replicas", [2, 8, pytest.param(64, marks=pytest.mark.integration)]
)
@pytest.mark.parametrize("look", [found_in_scores, found_in_pairs])
def test_a_wrong_replica_is_named_and_even_ones_are_not(
    look: Callable[[int, Case, int], list[OddReplica]], replicas: int
) -> None:
    case = Case(pairs=look is found_in_pairs, share=0.3)
    for seed in range(2):
        assert [odd.replica for odd in look(replicas, case, seed)] == [replicas - 1]
    even = Case(pairs=case.pairs, share=0.0)
    assert look(replicas, even, 100) == []


def test_two_wrong_replicas_are_both_named() -> None:
    rng = np.random.default_rng(0)
    owner = rng.integers(0, 8, 8000)
    marked = rng.random(8000) < np.where(np.isin(owner, [2, 5]), 0.2, 0.05)
    found = odd_replicas(owner[:, None], np.zeros(8000, int), {"m": marked}, {})
    assert sorted(one.replica for one in found) == [2, 5]


def test_pairs_are_disjoint_and_compared_by_tokens() -> None:
    tokens = [[1, 2, 3, 4], [1, 2, 3, 4], [1, 9, 8, 7], [5], [6]]
    rows = [
        ReplicaAnswer(index, replica, np.array(values, np.int32), 10)
        for index, replica, values in zip(
            [0, 0, 0, 1, 1], range(5), tokens, strict=True
        )
    ]
    pairs = pair_answers(rows)
    assert pairs.members.tolist() == [[0, 1], [3, 4]]
    assert pairs.identical.tolist() == [True, False]
    assert pairs.common.tolist() == [1.0, 0.0]
    assert pair_answers(rows[:1]).odd() == []


def test_pairs_of_a_replica_with_itself_say_nothing_about_it() -> None:
    rng = np.random.default_rng(1)
    members = rng.integers(0, 2, (600, 2))
    crossing = members[:, 0] != members[:, 1]
    pairs = AnswerPairs(
        members=members,
        prompt_tokens=np.full(600, 10),
        identical=~crossing,
        common=np.where(crossing, 0.5, 1.0),
    )
    (found,) = pairs.odd()
    assert found.measure == DIFFERENT
    assert found.peer is not None
