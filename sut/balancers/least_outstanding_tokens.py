"""The replica with the least work in hand."""

from collections.abc import Sequence

from sut.balancers.base import Load


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
