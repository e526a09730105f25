"""Finds, for each size, the highest arrival rate that keeps the latency limits."""

from collections.abc import Callable

Probe = Callable[[float], bool]
"""Makes a run at a rate in queries/s; returns whether it kept the limits."""

_MOST_PROBES = 30
_LONGEST_STEP = 2.0


def highest_rate(probe: Probe, start: float, tolerance: float) -> float | None:
    """Return the highest rate found that kept the limits; None where none did.

    Goes up or down from `start` in growing steps, the first as wide as the tolerance,
    until one rate keeps the limits and one does not; then halves the span between
    them on a logarithmic scale. A good guess so needs two probes.

    Args:
        probe: makes one run.
        start: first rate, in queries/s.
        tolerance: relative width of the span at which the search ends, e.g. 0.05.
    """
    good: float | None = None
    bad: float | None = None
    rate, step = start, 1 + tolerance
    for _ in range(_MOST_PROBES):
        if probe(rate):
            good = rate
        else:
            bad = rate
        if good is not None and bad is not None:
            # A step is multiplied and divided by itself: room for the last digit.
            if bad / good <= (1 + tolerance) * (1 + 1e-9):
                break
            rate = (good * bad) ** 0.5
        else:
            rate = rate / step if good is None else rate * step
            step = min(step * step, _LONGEST_STEP)
    return good
