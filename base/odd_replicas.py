"""Which replicas answer differently from the others: exact tests for all of them.

A unit is an answer of one replica, or a pair of answers of two replicas to the same
prompt. Units of a replica are compared with units in which it has no part. The
probability of a unit may depend on the length of its prompt, so units are compared
within strata of equal length. Sources: the exact test of several 2 x 2 tables
(Gart 1970), Welch's t test for means, Bonferroni's correction. A replica that was
found is taken out, and the others are tested again without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr, stdtr

LEVEL = 0.01
"""Probability that replicas which answer alike give any finding."""
_STRATA = 8
_FEWEST_UNITS = 5
_CLEARLY_MORE = 1.5
"""Standard deviations up to which no p value can be small enough to need the exact
distribution."""
_MANY = 20_000
"""Marked units above which the normal distribution takes the exact one's place."""

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class OddReplica:
    """A replica that answers differently from the others, in the clearest measure."""

    replica: int
    measure: str
    own: float
    """Share of its units that are marked (0 to 1), or the mean of their scores."""
    others: float
    """The same of the units in which it has no part."""
    units: int
    """Number of its units."""
    p: float
    """Corrected for the number of tests."""
    also: tuple[str, ...]
    """Other measures in which it is odd."""
    peer: int | None
    """The other one of two replicas, if the test cannot say which of them is odd."""


@dataclass(frozen=True, slots=True)
class _Test:
    p: float
    replica: int
    measure: str
    own: float
    others: float
    units: int


def length_strata(lengths: IntArray) -> IntArray:
    """Return the stratum of each unit: eight of equal size, by prompt length."""
    edges = np.quantile(lengths, np.linspace(0, 1, _STRATA + 1)[1:-1])
    return np.searchsorted(edges, lengths, side="right").astype(np.int64)


def odd_replicas(
    members: IntArray,
    strata: IntArray,
    marks: Mapping[str, BoolArray],
    scores: Mapping[str, FloatArray],
    level: float = LEVEL,
) -> list[OddReplica]:
    """Return the replicas that answer differently, the clearest first.

    Args:
        members: number of each unit's replica, shape (units, 1), or of the two
            replicas of a pair, shape (units, 2).
        strata: stratum of each unit.
        marks: by measure, whether a unit is marked; too many marks are odd.
        scores: by measure, a value of each unit; too low a mean is odd.
        level: probability of a finding if all replicas answer alike.
    """
    found: list[OddReplica] = []
    kept = np.ones(len(members), bool)
    while kept.any():
        tests = _tests(
            members[kept],
            strata[kept],
            {name: values[kept] for name, values in marks.items()},
            {name: values[kept] for name, values in scores.items()},
        )
        clear = sorted(
            (test for test in tests if test.p * len(tests) < level),
            key=lambda test: test.p,
        )
        if not clear:
            break
        best = clear[0]
        others = np.unique(members[kept][members[kept] != best.replica])
        also = {test.replica for test in clear if test.measure == best.measure}
        ambiguous = len(others) == 1 and int(others[0]) in also
        found.append(
            OddReplica(
                replica=best.replica,
                measure=best.measure,
                own=best.own,
                others=best.others,
                units=best.units,
                p=best.p * len(tests),
                also=tuple(
                    test.measure
                    for test in clear
                    if test.replica == best.replica and test.measure != best.measure
                ),
                peer=int(others[0]) if ambiguous else None,
            )
        )
        kept &= ~(members == best.replica).any(axis=1)
    return found


def _tests(
    members: IntArray,
    strata: IntArray,
    marks: Mapping[str, BoolArray],
    scores: Mapping[str, FloatArray],
) -> list[_Test]:
    tests = []
    count = int(strata.max()) + 1

    def by_stratum(units: IntArray | BoolArray) -> FloatArray:
        return np.bincount(strata[units], minlength=count).astype(float)

    everything = by_stratum(np.ones(len(strata), bool))
    marked_units = {name: by_stratum(marked) for name, marked in marks.items()}
    centered = {name: _centered(values, strata) for name, values in scores.items()}
    for replica in np.unique(members).tolist():
        part = members == replica
        touched = np.flatnonzero(part.any(axis=1))
        # Both answers of a pair may be wrong in the same way: that pair says nothing.
        alone = part.shape[1] > 1 and part[touched].all(axis=1)
        own = touched[~alone] if part.shape[1] > 1 else touched
        others = len(members) - len(touched)
        if min(len(own), others) < _FEWEST_UNITS:
            continue
        mine, rest = by_stratum(own), everything - by_stratum(touched)
        for name, marked in marks.items():
            hits = by_stratum(own[marked[own]])
            rest_hits = marked_units[name] - by_stratum(touched[marked[touched]])
            p = more_marked(mine, rest, hits, rest_hits)
            shares = hits.sum() / len(own), rest_hits.sum() / others
            tests.append(
                _Test(p, replica, name, float(shares[0]), float(shares[1]), len(own))
            )
        for name, values in scores.items():
            outside = np.ones(len(members), bool)
            outside[touched] = False
            p = _lower_mean(centered[name][own], centered[name][outside])
            mean, other_mean = float(values[own].mean()), float(values[outside].mean())
            tests.append(_Test(p, replica, name, mean, other_mean, len(own)))
    return tests


def more_marked(
    mine: FloatArray, rest: FloatArray, hits: FloatArray, rest_hits: FloatArray
) -> float:
    """Return the probability of so many marked own units, or more, if all are alike.

    Given the number of marked units in each stratum, that of own units among them is
    hypergeometric; their sum over strata has the convolution of these distributions.

    Args:
        mine: own units of each stratum.
        rest: other units of each stratum.
        hits: own units that are marked, of each stratum.
        rest_hits: other units that are marked, of each stratum.
    """
    total, marked = mine + rest, hits + rest_hits
    mean = float((marked * mine / np.maximum(total, 1)).sum())
    spread = marked * mine * rest * (total - marked)
    variance = float((spread / np.maximum(total**2 * (total - 1), 1)).sum())
    seen = int(hits.sum())
    far = seen - 0.5 - mean > _CLEARLY_MORE * variance**0.5
    if not far or marked.sum() > _MANY:
        return float(ndtr((mean - seen + 0.5) / variance**0.5)) if variance else 1.0
    whole: FloatArray = np.ones(1)
    for number in np.flatnonzero(mine).tolist():
        part = _hypergeometric(
            int(mine[number]), int(rest[number]), int(marked[number])
        )
        whole = np.asarray(np.convolve(whole, part), float)
    return min(1.0, float(whole[seen:].sum()))


def _hypergeometric(mine: int, rest: int, hits: int) -> FloatArray:
    """Return the probabilities of 0, 1, ... own units among `hits` marked ones."""
    count = np.arange(min(mine, hits) + 1)
    logs = (
        _log_choose(mine, count)
        + _log_choose(rest, hits - count)
        - _log_choose(mine + rest, hits)
    )
    possible = (hits - count >= 0) & (hits - count <= rest)
    found: FloatArray = np.where(possible, np.exp(np.where(possible, logs, 0.0)), 0.0)
    return found


def _log_choose(whole: int, part: IntArray | int) -> FloatArray:
    inside = np.clip(part, 0, whole)
    found: FloatArray = (
        gammaln(whole + 1) - gammaln(inside + 1) - gammaln(whole - inside + 1)
    )
    return found


def _centered(values: FloatArray, strata: IntArray) -> FloatArray:
    """Return the values less the mean of their stratum."""
    count = np.bincount(strata)
    means = np.bincount(strata, weights=values) / np.maximum(count, 1)
    centered: FloatArray = values - means[strata]
    return centered


def _lower_mean(own: FloatArray, others: FloatArray) -> float:
    """Return the one-sided p value of Welch's test that the own mean is lower."""
    parts = np.array([x.var(ddof=1) / len(x) for x in (own, others)])
    if not parts.sum():
        return 0.0 if own.mean() < others.mean() else 1.0
    freedoms = np.array([len(own) - 1, len(others) - 1])
    freedom = float(parts.sum() ** 2 / (parts**2 / freedoms).sum())
    t = float((own.mean() - others.mean()) / parts.sum() ** 0.5)
    return float(stdtr(freedom, t))
