"""Keeps Python's garbage collector out of a run."""

import gc

_THRESHOLD = 100_000
"""New containers until a collection; objects made per sample are not counted."""


def spare_garbage_collector() -> None:
    """Exclude all present objects from collections, and make collections rare.

    A full collection walks over every object: with a few hundred thousand it would
    stop all threads for tens of milliseconds in the middle of a run.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)
