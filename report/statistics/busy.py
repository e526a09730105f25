"""When replicas had work."""

import itertools

import numpy as np

from report.reading.run import Run
from report.reading.samples import Samples


def busy_spans(samples: Samples) -> list[tuple[int, int]]:
    """Return the spans of time, in ns, in which at least one sample was in work.

    Args:
        samples: completed ones.
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
    """Return the seconds in which at least one of the completed samples was in work."""
    return sum(end - begin for begin, end in busy_spans(samples)) / 1e9


def idle_s(run: Run, replica: int) -> tuple[float, float, float]:
    """Return a replica's seconds without work: at the start, between, at the end.

    Time in which it was not part of the run does not count.
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


def _outside(spans: list[tuple[int, int]], away: list[tuple[int, int]]) -> int:
    """Return how long the spans last, without what lies in one of `away`."""
    return sum(
        end - begin - sum(max(0, min(end, b) - max(begin, a)) for a, b in away)
        for begin, end in spans
    )
