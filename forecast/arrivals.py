"""What LoadGen will issue, and when."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast.evidence import Evidence
from scenarios.schedule import ServerSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The samples of a run to forecast, by order of issue."""

    arrivals: NDArray[np.float64]
    """Times of issue in s; all 0 in Offline."""
    indices: NDArray[np.int64]
    """Rows of `lengths` and `outputs`."""
    lengths: list[int]
    """Prompt tokens by index of the data set."""
    outputs: list[int]
    """Answer tokens by index of the data set."""
    answer_limits: list[int]
    """Answer tokens by index of the data set that the run allows, or prescribes."""


def workload(
    evidence: Evidence, server: bool, rate: float, queries: int, seed: int
) -> Workload:
    """Return the samples that LoadGen will issue.

    Arrival times are LoadGen's own, from its seed. The order of the samples is that of
    the recorded run, which LoadGen draws from another seed whatever the rate; a longer
    run repeats it. Rows of which no answer was recorded have the length of another one.

    Args:
        evidence: the recorded run.
        server: whether queries come by a schedule; else all at once.
        rate: queries/s, where they do.
        queries: samples of the run.
        seed: of LoadGen's schedule.
    """
    size = int(evidence.indices.max()) + 1
    lengths, outputs = np.zeros(size, np.int64), np.zeros(size, np.int64)
    lengths[evidence.indices] = evidence.prompts
    outputs[evidence.indices] = evidence.tokens.astype(np.int64)
    limits = np.full(size, evidence.settings.max_output_tokens)
    if evidence.settings.prescribed_lengths:
        # A recorded answer has exactly the length that its row prescribes.
        limits = outputs
    times = np.zeros(queries)
    if server:
        schedule = ServerSchedule(seed=seed, pass_queries=queries, min_duration_s=0.0)
        times = schedule.times(queries)[:queries] / rate
    repeats = -(-queries // len(evidence.indices))
    return Workload(
        arrivals=times,
        indices=np.tile(evidence.indices, repeats)[:queries],
        lengths=lengths.tolist(),
        outputs=outputs.tolist(),
        answer_limits=limits.tolist(),
    )
