"""The figures of a run, measured or simulated, by one definition each."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from base.percentiles import loadgen_percentile
from forecast.limits import Samples

Array = NDArray[np.float64]
_SHARES = (0.5, 0.9, 0.99)


def measures(samples: Samples) -> Mapping[str, float]:
    """Return throughput and latencies of a run."""
    issued, done, first = samples.issued, samples.done, samples.first
    seconds = float(done.max() - issued.min())
    found = {
        "samples_per_s": len(issued) / seconds,
        "tokens_per_s": float(samples.tokens.sum()) / seconds,
    }
    kinds: dict[str, Array] = {}
    if first is not None:
        kinds = {"ttft_ms": samples.latencies("ttft")}
        kinds["tpot_ms"] = samples.latencies("tpot")
    kinds["latency_ms"] = samples.latencies("e2e")
    for kind, values in kinds.items():
        for share in _SHARES:
            value = loadgen_percentile(values, share)
            if value is not None:
                found[f"{kind}_p{round(100 * share)}"] = value * 1000
    return found
