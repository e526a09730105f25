"""The replica that would be free first, at the speed that it has shown."""

from collections.abc import Sequence

from sut.balancers.base import Load


class CapacityWeighted:
    """Evens out the time to work off what is outstanding, not its amount.

    A replica whose speed is not known yet counts as fast as the mean of the others.
    """

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return the candidate with the fewest outstanding tokens per speed."""
        known = [load.tokens_per_s for load in candidates if load.tokens_per_s]
        mean = sum(known) / len(known) if known else 1.0

        def wait(load: Load) -> tuple[float, int]:
            return load.outstanding_tokens / (load.tokens_per_s or mean), load.replica

        return min(candidates, key=wait)
