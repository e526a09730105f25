"""Latest latencies of a run, for the live view."""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from base.percentiles import loadgen_percentile
from sut.coordinator.dispatcher import Sample

_KEPT = 512


class RecentLatencies:
    """TTFT and TPOT of the last samples, measured from LoadGen's issue."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: deque[tuple[Sample, int, int]] = deque(maxlen=_KEPT)
        self.add: Callable[[tuple[Sample, int, int]], None] = self._kept.append
        """Take in a completed sample, the time in ns, and its number of tokens."""

    def ttft_ms(self, percentile: float) -> float | None:
        """Return this percentile (0 to 100) of TTFT in ms; None: nothing streamed."""
        return _percentile_ms(
            [
                sample.first_token_ns - sample.issued_ns
                for sample, _, _ in list(self._kept)
                if sample.first_token_ns is not None
            ],
            percentile,
        )

    def tpot_ms(self, percentile: float) -> float | None:
        """Return this percentile (0 to 100) of TPOT in ms; None: nothing streamed."""
        return _percentile_ms(
            [
                (completed - sample.first_token_ns) / (tokens - 1)
                for sample, completed, tokens in list(self._kept)
                if sample.first_token_ns is not None and tokens > 1
            ],
            percentile,
        )


def _percentile_ms(values: Sequence[float], percentile: float) -> float | None:
    found = loadgen_percentile(np.asarray(values, float), percentile / 100)
    return None if found is None else found / 1e6
