"""Latest latencies of a run, for the live view."""

from collections import deque

import numpy as np

from sut.dispatcher import Sample

_KEPT = 512


class RecentLatencies:
    """TTFT and TPOT of the last samples, measured from LoadGen's issue."""

    def __init__(self) -> None:
        """Start empty."""
        self._ttft_ns: deque[int] = deque(maxlen=_KEPT)
        self._tpot_ns: deque[float] = deque(maxlen=_KEPT)

    def add(self, sample: Sample, completed_ns: int, output_tokens: int) -> None:
        """Take in a completed sample; one that was not streamed has neither."""
        if sample.first_token_ns is None:
            return
        self._ttft_ns.append(sample.first_token_ns - sample.issued_ns)
        if output_tokens > 1:
            decode_ns = completed_ns - sample.first_token_ns
            self._tpot_ns.append(decode_ns / (output_tokens - 1))

    def ttft_ms(self, percentile: float) -> float | None:
        """Return this percentile (0 to 100) of TTFT in ms."""
        return _percentile_ms(self._ttft_ns, percentile)

    def tpot_ms(self, percentile: float) -> float | None:
        """Return this percentile (0 to 100) of TPOT in ms."""
        return _percentile_ms(self._tpot_ns, percentile)


def _percentile_ms(
    values: deque[int] | deque[float], percentile: float
) -> float | None:
    kept = list(values)
    return float(np.percentile(kept, percentile)) / 1e6 if kept else None
