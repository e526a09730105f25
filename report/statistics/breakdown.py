"""Stages of a sample's latency, and the percentiles that LoadGen logged."""

import numpy as np

from report.reading.run import Run
from report.reading.samples import FloatArray, Samples

DISPATCH_WAIT = "wait for dispatch"
ISSUE_DELAY = "issue delay"
STAGES = {
    ISSUE_DELAY: "scheduled time to issue, from LoadGen's trace",
    DISPATCH_WAIT: "issue to dispatch: in the coordinator's queue",
    "queue": "arrival in the engine to start of prefill",
    "prefill": "start of prefill to first token, in the engine",
    "decode": "first token to last token, in the engine",
    "rest in the replica": "wait for the engine's next step, and sending",
    "outside the replica": "network and messages between dispatch and completion; also"
    " the rest in the replica if that was not recorded",
}
"""Stages of a sample's latency, in their order, with their meaning."""
_ORDERED = {
    "latency": "result_{}_latency_ns",
    "TTFT": "result_first_token_{}_latency_ns",
    "TPOT": "result_time_per_output_token_{}_ns",
}
_EXTREMES = _ORDERED | {"TPOT": "result_time_to_output_token_{}"}


def latency_breakdown(run: Run, own: Samples) -> dict[str, FloatArray]:
    """Return the length of each stage for each sample, in ns; NaN where unknown."""
    in_engine = own.queue + own.prefill + own.decode
    return {
        ISSUE_DELAY: issue_delay(run, own),
        DISPATCH_WAIT: own.wait_ns,
        "queue": own.queue,
        "prefill": own.prefill,
        "decode": own.decode,
        "rest in the replica": own.residence - in_engine,
        "outside the replica": own.overhead_ns,
    }


def issue_delay(run: Run, own: Samples) -> FloatArray:
    """Return the ns from scheduled time to issue; NaN without LoadGen's trace."""
    if run.trace is None:
        return np.full(len(own), np.nan)
    index = np.searchsorted(run.trace.seq, own.seq)
    index = np.minimum(index, len(run.trace.seq) - 1)
    delays = run.trace.issue_delay_ns[index].astype(float)
    return np.where(run.trace.seq[index] == own.seq, delays, np.nan)


def logged_percentile(run: Run, kind: str, share: float) -> float | None:
    """Return a percentile of the run in ns as LoadGen logged it; None if it did not.

    Args:
        run: the run.
        kind: `latency`, `TTFT` or `TPOT`.
        share: 0.99 for p99.
    """
    return _logged(run, _ORDERED[kind], f"{100 * share:.2f}_percentile")


def logged_extreme(run: Run, kind: str, name: str) -> float | None:
    """Return LoadGen's `min`, `mean` or `max` of the run in ns, as `kind` above."""
    return _logged(run, _EXTREMES[kind], name)


def _logged(run: Run, pattern: str, name: str) -> float | None:
    return run.log.number(pattern.format(name))
