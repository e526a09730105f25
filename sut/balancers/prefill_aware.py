"""The replica with the shortest queue, prompts not yet read weighing more."""

from collections.abc import Sequence

from sut.balancers.base import Load

_BETA = 8.0
"""Weight of a sample that has no first token yet."""


class PrefillAware:
    """Keeps prompts from piling up before one replica, which is what hurts TTFT.

    Score: outstanding samples + beta x those without a first token, with beta = 8 as
    AMD's v6.1 submission found for this benchmark.
    """

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return the candidate with the lowest score."""
        return min(candidates, key=_score)


def _score(load: Load) -> tuple[float, int, int]:
    score = load.outstanding_samples + _BETA * load.outstanding_prefills
    return score, load.outstanding_tokens, load.replica
