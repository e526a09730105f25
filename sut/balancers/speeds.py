"""How fast replicas are, as far as they have shown it."""

from collections.abc import Sequence

from sut.balancers.base import Load

_REFRESH = 64
"""Choices until speeds are looked up anew: they change slowly, choices are many."""


class Speeds:
    """Remembers each replica's speed; one that has shown none counts as the mean."""

    def __init__(self) -> None:
        """Know nothing."""
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
