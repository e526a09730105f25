"""The replica with the least work in hand."""

from collections.abc import Sequence

from sut.balancers.base import Load


class LeastOutstandingTokens:
    """Evens out tokens in flight, so that a slow replica is handed less."""

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return the candidate with the fewest outstanding tokens."""
        return min(candidates, key=lambda load: (load.outstanding_tokens, load.replica))
