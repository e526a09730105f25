"""How fast replicas are, as far as they have shown it."""

from collections.abc import Sequence

from sut.balancers.base import Load

_REFRESH = 64
"""Choices until speeds are looked up anew: they change slowly, choices are many."""


class Speeds:
    """Remembers each replica's speed; one that has shown none counts as the mean."""

    def __init__(self) -> None:
        """Know nothing."""
        self._known: dict[int, float] = {}
        self._mean = 1.0
        self._fresh = 0

    def note(self, candidates: Sequence[Load]) -> None:
        """Take note of these replicas, unless that was done a moment ago."""
        self._fresh -= 1
        if self._fresh > 0:
            return
        self._fresh = _REFRESH
        for load in candidates:
            if (speed := load.tokens_per_s) is not None:
                self._known[load.replica] = speed
        if self._known:
            self._mean = sum(self._known.values()) / len(self._known)

    def of(self, load: Load) -> float:
        """Return the replica's speed in tokens/s (1 where no replica has shown any)."""
        return self._known.get(load.replica, self._mean)
