"""Latest latencies of a run, for the live view."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from sut.dispatcher import Sample

_KEPT = 512


class RecentLatencies:
    """TTFT and TPOT of the last samples, measured from LoadGen's issue."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: deque[tuple[int, int, int, int]] = deque(maxlen=_KEPT)

    def add(self, sample: Sample, completed_ns: int, output_tokens: int) -> None:
        """Take in a completed sample; one that was not streamed has neither."""
        if (first_ns := sample.first_token_ns) is not None:
            # Worked out when somebody looks: this comes once per sample.
            self._kept.append((sample.issued_ns, first_ns, completed_ns, output_tokens))

    def ttft_ms(self, percentile: float) -> float | None:
        """Return this percentile (0 to 100) of TTFT in ms."""
        return _percentile_ms(
            [first - issued for issued, first, _, _ in list(self._kept)], percentile
        )

    def tpot_ms(self, percentile: float) -> float | None:
        """Return this percentile (0 to 100) of TPOT in ms."""
        return _percentile_ms(
            [
                (completed - first) / (tokens - 1)
                for _, first, completed, tokens in list(self._kept)
                if tokens > 1
            ],
            percentile,
        )


def _percentile_ms(values: Sequence[float], percentile: float) -> float | None:
    return float(np.percentile(values, percentile)) / 1e6 if values else None
