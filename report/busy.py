"""When replicas had work."""

import itertools

import numpy as np

from report.run import Run
from report.samples import Samples


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


def idle_s(run: Run, own: Samples) -> tuple[float, float, float]:
    """Return seconds without work: at the start, between samples, at the end.

    Args:
        run: the run.
        own: completed samples of one replica.
    """
    spans = busy_spans(own)
    if not spans:
        return run.wall_s, 0.0, 0.0
    between = sum(b[0] - a[1] for a, b in itertools.pairwise(spans))
    start, end = spans[0][0] - run.begin_ns, run.end_ns - spans[-1][1]
    return start / 1e9, between / 1e9, end / 1e9
