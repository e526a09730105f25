"""Keeps Python's garbage collector out of a run."""

import gc

_THRESHOLD = 100_000
"""New containers until a collection; what comes once per sample is none."""


def spare_garbage_collector() -> None:
    """Take what was made up to now out of collections, and make them rare.

    A full collection walks over every object: with a few hundred thousand it would
    stop all threads for tens of milliseconds in the middle of a run.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)
