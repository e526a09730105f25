"""The policies that choose a replica for each sample, and their interface; no I/O."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from conf.clusters import BalancerName

_BETA = 8.0
"""Weight of a sample that has no first token yet."""
_REFRESH = 64
"""Choices until speeds are read again: speeds change slowly, and choices are many."""


class Load(Protocol):
    """The facts about a replica that a policy may use."""

    @property
    def replica(self) -> int:
        """Number of the replica."""

    @property
    def outstanding_samples(self) -> int:
        """Samples sent to it and not finished."""

    @property
    def outstanding_tokens(self) -> int:
        """Prompt tokens, and answer tokens at their limit, of those samples."""

    @property
    def outstanding_prefills(self) -> int:
        """Those of them without a first token (0 if nothing is streamed)."""

    @property
    def tokens_per_s(self) -> float | None:
        """Measured speed in tokens/s, counted as above; None if not known yet."""


class Balancer(Protocol):
    """Chooses a replica; may keep state, does no I/O."""

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return one of `candidates` (never empty) for the next sample."""


@runtime_checkable
class ScoringBalancer(Balancer, Protocol):
    """A balancer that chooses the candidate with the least score.

    While samples are handed out, only the score of the chosen candidate changes.
    """

    def refresh(self, candidates: Sequence[Load], choices: int) -> None:
        """Read what changes slowly, before so many choices."""

    def score(self, load: Load) -> tuple[float, ...]:
        """Return the score; no two candidates have the same one."""


class RoundRobin:
    """Sends the same number of samples to each replica, regardless of its speed."""

    def __init__(self) -> None:
        """Start before the first replica."""
        self._last = -1

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return the candidate that follows the last choice, by replica number."""
        following = [load for load in candidates if load.replica > self._last]
        chosen = min(following or candidates, key=lambda load: load.replica)
        self._last = chosen.replica
        return chosen


class LeastOutstandingTokens:
    """Balances outstanding tokens, so that a slow replica receives less."""

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return the candidate with the fewest outstanding tokens."""
        best = candidates[0]
        least = best.outstanding_tokens
        for load in candidates:
            tokens = load.outstanding_tokens
            if tokens < least or (tokens == least and load.replica < best.replica):
                best, least = load, tokens
        return best

    def refresh(self, candidates: Sequence[Load], choices: int) -> None:
        """Do nothing: it uses no speeds."""

    def score(self, load: Load) -> tuple[float, ...]:
        """Return the outstanding tokens, then the number."""
        return load.outstanding_tokens, load.replica


class PrefillAware:
    """Avoids a queue of prompts at one replica, which would raise TTFT.

    Score: (outstanding samples + beta x those without a first token) / speed, with
    beta = 8 as AMD's v6.1 submission found for this benchmark. The division is ours: it
    gives a slow replica smaller batches, so that its TPOT is that of the others.
    """

    def __init__(self) -> None:
        """Start before the first replica has shown its speed."""
        self._speeds = _Speeds()

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return the candidate with the lowest score."""
        speeds = self._speeds
        speeds.note(candidates)
        best, least = candidates[0], math.inf
        for load in candidates:
            # The sample to come counts: an idle slow replica is no better than a fast
            # one.
            queue = load.outstanding_samples + 1 + _BETA * load.outstanding_prefills
            score = queue / speeds.known.get(load.replica, speeds.mean)
            if score < least or (score == least and _order(load) < _order(best)):
                best, least = load, score
        return best

    def refresh(self, candidates: Sequence[Load], choices: int) -> None:
        """Read the speeds, unless they were read recently."""
        self._speeds.note(candidates, choices)

    def score(self, load: Load) -> tuple[float, ...]:
        """Return the score of the class, then what decides between equal ones."""
        speeds = self._speeds
        queue = load.outstanding_samples + 1 + _BETA * load.outstanding_prefills
        speed = speeds.known.get(load.replica, speeds.mean)
        return queue / speed, load.outstanding_tokens, load.replica


def _order(load: Load) -> tuple[int, int]:
    return load.outstanding_tokens, load.replica


class CapacityWeighted:
    """Balances the time to finish the outstanding work, not its amount."""

    def __init__(self) -> None:
        """Start before the first replica has shown its speed."""
        self._speeds = _Speeds()

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return the candidate with the fewest outstanding tokens per speed."""
        self._speeds.note(candidates)
        return min(candidates, key=self.score)

    def refresh(self, candidates: Sequence[Load], choices: int) -> None:
        """Read the speeds, unless they were read recently."""
        self._speeds.note(candidates, choices)

    def score(self, load: Load) -> tuple[float, ...]:
        """Return the time to finish the outstanding work, then the number."""
        return load.outstanding_tokens / self._speeds.of(load), load.replica


class _Speeds:
    """Keeps the speed of each replica; an unknown speed counts as the mean."""

    def __init__(self) -> None:
        self.known: dict[int, float] = {}
        """Tokens/s by replica, where known."""
        self.mean = 1.0
        """Mean of the known speeds; 1 if none is known."""
        self._fresh = 0

    def note(self, candidates: Sequence[Load], choices: int = 1) -> None:
        """Read the speeds of these replicas, unless they were read recently."""
        self._fresh -= choices
        if self._fresh > 0:
            return
        self._fresh = _REFRESH
        for load in candidates:
            if (speed := load.tokens_per_s) is not None:
                self.known[load.replica] = speed
        if self.known:
            self.mean = sum(self.known.values()) / len(self.known)

    def of(self, load: Load) -> float:
        """Return the replica's speed in tokens/s; the mean if it is not known."""
        return self.known.get(load.replica, self.mean)


_BALANCERS: dict[BalancerName, type[Balancer]] = {
    BalancerName.round_robin: RoundRobin,
    BalancerName.least_outstanding_tokens: LeastOutstandingTokens,
    BalancerName.prefill_aware: PrefillAware,
    BalancerName.capacity_weighted: CapacityWeighted,
}


def make_balancer(name: BalancerName | None, streaming: bool) -> Balancer:
    """Return a new balancer of the policy `name`.

    Args:
        name: the policy; None: the one that suits the scenario.
        streaming: whether first tokens are reported, and timed.
    """
    suited = (
        BalancerName.prefill_aware
        if streaming
        else BalancerName.least_outstanding_tokens
    )
    return _BALANCERS[name or suited]()
