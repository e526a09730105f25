"""The policies that choose a replica for each sample, and their seam; no I/O."""

import math
from collections.abc import Sequence
from typing import Protocol

from conf.schema import BalancerName

_BETA = 8.0
"""Weight of a sample that has no first token yet."""
_REFRESH = 64
"""Choices until speeds are read again: they change slowly, and choices are many."""


class Load(Protocol):
    """What a policy may know of a replica."""

    @property
    def replica(self) -> int:
        """Number of the replica."""

    @property
    def outstanding_samples(self) -> int:
        """Samples handed to it and not finished."""

    @property
    def outstanding_tokens(self) -> int:
        """Prompt tokens, and answer tokens at their limit, of those samples."""

    @property
    def outstanding_prefills(self) -> int:
        """Those of them that have no first token yet (0 where nothing is streamed)."""

    @property
    def tokens_per_s(self) -> float | None:
        """Speed it has shown, in tokens as counted above; None as long as too few."""


class Balancer(Protocol):
    """Chooses a replica; may keep state of its own, does no I/O."""

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return one of `candidates` (never empty) for the next sample."""


class RoundRobin:
    """Hands the same number of samples to each replica, whatever its speed."""

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
    """Evens out tokens in flight, so that a slow replica is handed less."""

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return the candidate with the fewest outstanding tokens."""
        best = candidates[0]
        least = best.outstanding_tokens
        for load in candidates:
            tokens = load.outstanding_tokens
            if tokens < least or (tokens == least and load.replica < best.replica):
                best, least = load, tokens
        return best


class PrefillAware:
    """Keeps prompts from piling up before one replica, which is what hurts TTFT.

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


def _order(load: Load) -> tuple[int, int]:
    return load.outstanding_tokens, load.replica


class CapacityWeighted:
    """Evens out the time to work off what is outstanding, not its amount."""

    def __init__(self) -> None:
        """Start before the first replica has shown its speed."""
        self._speeds = _Speeds()

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return the candidate with the fewest outstanding tokens per speed."""
        self._speeds.note(candidates)
        return min(candidates, key=self._wait)

    def _wait(self, load: Load) -> tuple[float, int]:
        return load.outstanding_tokens / self._speeds.of(load), load.replica


class _Speeds:
    """Remembers each replica's speed; one that has shown none counts as the mean."""

    def __init__(self) -> None:
        self.known: dict[int, float] = {}
        """Tokens/s by replica, of those that have shown any."""
        self.mean = 1.0
        """Their mean; 1 where no replica has shown any."""
        self._fresh = 0

    def note(self, candidates: Sequence[Load]) -> None:
        """Take note of these replicas, unless that was done a moment ago."""
        self._fresh -= 1
        if self._fresh > 0:
            return
        self._fresh = _REFRESH
        for load in candidates:
            if (speed := load.tokens_per_s) is not None:
                self.known[load.replica] = speed
        if self.known:
            self.mean = sum(self.known.values()) / len(self.known)

    def of(self, load: Load) -> float:
        """Return the replica's speed in tokens/s; the mean if it has shown none."""
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
