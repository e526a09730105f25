"""Each replica in turn."""

from collections.abc import Sequence

from sut.balancers.base import Load


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
