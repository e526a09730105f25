"""The figures of a run, measured or simulated, by one definition each."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from base.percentiles import loadgen_percentile

Array = NDArray[np.float64]
_SHARES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Latency limits of a run; None: there is none."""

    ttft_s: float | None
    tpot_s: float | None
    percentile: float

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.ttft_s is not None or self.tpot_s is not None

    def broken(self, issued: Array, first: Array, done: Array, tokens: Array) -> bool:
        """Return whether the run misses a limit, by the percentile alone."""
        ttft, tpot = first - issued, spans(first, done, tokens)
        return any(
            limit is not None
            and (found := loadgen_percentile(values, self.percentile)) is not None
            and found > limit
            for limit, values in ((self.ttft_s, ttft), (self.tpot_s, tpot))
        )


def spans(first: Array, done: Array, tokens: Array) -> Array:
    """Return TPOT in s as LoadGen takes it; NaN for answers of one token."""
    rest = np.where(tokens > 1, tokens - 1, np.nan)
    return np.asarray((done - first) / rest)


def measures(
    issued: Array, first: Array | None, done: Array, tokens: Array
) -> Mapping[str, float]:
    """Return throughput and latencies; times in s, shape (samples,) each.

    Args:
        issued: when LoadGen issued each sample.
        first: when its first token came; None: not streamed.
        done: when its answer ended.
        tokens: of its answer.
    """
    seconds = float(done.max() - issued.min())
    found = {
        "samples_per_s": len(issued) / seconds,
        "tokens_per_s": float(tokens.sum()) / seconds,
    }
    kinds: dict[str, Array] = {}
    if first is not None:
        kinds = {"ttft_ms": first - issued, "tpot_ms": spans(first, done, tokens)}
    kinds["latency_ms"] = done - issued
    for kind, values in kinds.items():
        for share in _SHARES:
            value = loadgen_percentile(values, share)
            if value is not None:
                found[f"{kind}_p{round(100 * share)}"] = value * 1000
    return found
