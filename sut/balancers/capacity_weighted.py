"""The replica that would be free first, at the speed that it has shown."""

from collections.abc import Sequence

from sut.balancers.base import Load
from sut.balancers.speeds import Speeds


class CapacityWeighted:
    """Evens out the time to work off what is outstanding, not its amount."""

    def __init__(self) -> None:
        """Start before the first replica has shown its speed."""
        self._speeds = Speeds()

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return the candidate with the fewest outstanding tokens per speed."""
        self._speeds.note(candidates)
        return min(candidates, key=self._wait)

    def _wait(self, load: Load) -> tuple[float, int]:
        return load.outstanding_tokens / self._speeds.of(load), load.replica
