"""The replica with the shortest queue for its speed, unread prompts weighing more."""

import math
from collections.abc import Sequence

from sut.balancers.base import Load
from sut.balancers.speeds import Speeds

_BETA = 8.0
"""Weight of a sample that has no first token yet."""


class PrefillAware:
    """Keeps prompts from piling up before one replica, which is what hurts TTFT.

    Score: (outstanding samples + beta x those without a first token) / speed, with
    beta = 8 as AMD's v6.1 submission found for this benchmark. The division is ours: it
    gives a slow replica smaller batches, so that its TPOT is that of the others.
    """

    def __init__(self) -> None:
        """Start before the first replica has shown its speed."""
        self._speeds = Speeds()

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
