"""Times in which replicas had work, and times in which they had none."""

import itertools
from dataclasses import dataclass

import numpy as np

from report.reading.run import Run
from report.reading.samples import FloatArray, Samples

IDLE = 0.05
"""Share of idle time from which a report mentions it."""


def busy_spans(samples: Samples) -> list[tuple[int, int]]:
    """Return the spans, in ns, in which at least one sample was being processed.

    Args:
        samples: completed samples.
    """
    order = np.argsort(samples.dispatched)
    begins, ends = samples.dispatched[order], samples.completed[order]
    if not len(begins):
        return []
    reached = np.maximum.accumulate(ends)
    fresh = np.flatnonzero(begins[1:] > reached[:-1]) + 1
    starts = np.concatenate(([0], fresh))
    stops = np.concatenate((fresh - 1, [len(begins) - 1]))
    return list(zip(begins[starts].tolist(), reached[stops].tolist(), strict=True))


def busy_s(samples: Samples) -> float:
    """Return the seconds in which at least one of the samples was being processed."""
    return sum(end - begin for begin, end in busy_spans(samples)) / 1e9


def idle_s(run: Run, replica: int) -> tuple[float, float, float]:
    """Return a replica's seconds without work: at the start, in between, at the end.

    Time in which the replica was away from the run does not count.
    """
    spans, away = busy_spans(run.by_replica[replica]), run.away(replica)
    if not spans:
        return run.present_s(replica), 0.0, 0.0
    gaps = [(a[1], b[0]) for a, b in itertools.pairwise(spans)]
    start, end = (run.begin_ns, spans[0][0]), (spans[-1][1], run.end_ns)
    return (
        _outside([start], away) / 1e9,
        _outside(gaps, away) / 1e9,
        _outside([end], away) / 1e9,
    )


@dataclass(slots=True, kw_only=True)
class IdleTime:
    """Time in which replicas had no work."""

    replicas: list[int]
    """Replicas that completed samples and lost none."""
    seconds: FloatArray
    """At the start, in between and at the end, shape (replica, 3)."""
    share: float
    """Of the time in which these replicas were part of the run."""


def idle_time(run: Run) -> IdleTime | None:
    """Return the idle time of replicas; None if no replica can be judged.

    Replicas that lost samples or left are not judged: they had no work because of that.
    """
    lost = {*run.lost.replica.tolist(), *run.gone}
    stayed = [r for r, own in run.by_replica.items() if len(own) and r not in lost]
    if not stayed or not run.wall_s:
        return None
    seconds = np.array([idle_s(run, r) for r in stayed])
    present = sum(run.present_s(r) for r in stayed)
    return IdleTime(
        replicas=stayed, seconds=seconds, share=float(seconds.sum()) / present
    )


def _outside(spans: list[tuple[int, int]], away: list[tuple[int, int]]) -> int:
    """Return the length of the spans in ns, less the parts within `away`."""
    return sum(
        end - begin - sum(max(0, min(end, b) - max(begin, a)) for a, b in away)
        for begin, end in spans
    )
