"""Finds, for each size, the highest arrival rate that keeps the latency limits."""

from collections.abc import Callable

Probe = Callable[[float], bool]
"""Makes a run at a rate in queries/s; returns whether it kept the limits."""

_MOST_PROBES = 24


def highest_rate(probe: Probe, start: float, tolerance: float) -> float | None:
    """Return the highest rate found that kept the limits; None where none did.

    Doubles or halves until one rate keeps the limits and one does not, then halves
    the span between them on a logarithmic scale.

    Args:
        probe: makes one run.
        start: first rate, in queries/s.
        tolerance: relative width of the span at which the search ends, e.g. 0.05.
    """
    good: float | None = None
    bad: float | None = None
    rate = start
    for _ in range(_MOST_PROBES):
        if probe(rate):
            good = rate
        else:
            bad = rate
        if good is None:
            rate = rate / 2
        elif bad is None:
            rate = rate * 2
        elif bad / good <= 1 + tolerance:
            break
        else:
            rate = (good * bad) ** 0.5
    return good
