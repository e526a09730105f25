"""How full the engines' batches were, and what kept them from being full."""

from dataclasses import dataclass

import numpy as np

from report.reading.run import Run

SMALL = 0.8
"""Share of `max_num_seqs` below which a batch is called small."""
_FULL_CACHE = 0.95
_FEWEST_READINGS = 10


@dataclass(slots=True, kw_only=True)
class Batches:
    """Batches of some replicas in the middle of a run."""

    replicas: list[int]
    filled: float
    """Running samples / max_num_seqs, mean over the replicas."""
    no_waiting: float
    """Share of readings in which no sample waited in the engine."""
    full_cache: float
    """Share of readings in which the KV cache was more than 95% full."""


def batch_fill(run: Run) -> dict[int, float]:
    """Return running samples / max_num_seqs of each replica, where it was recorded."""
    engines, middle = run.measured.engines, _middle(run)
    found = {}
    for record in run.replicas:
        limit = record.engine.get("max_num_seqs")
        mine = middle & (engines.replica == record.replica)
        if isinstance(limit, int) and mine.sum() >= _FEWEST_READINGS:
            found[record.replica] = (
                float(engines.values["running"][mine].mean()) / limit
            )
    return found


def batches(run: Run, fill: dict[int, float]) -> Batches:
    """Return the batches of the replicas in `fill`, at least one."""
    engines = run.measured.engines
    mine = _middle(run) & np.isin(engines.replica, [*fill])
    waiting, cache = engines.values["waiting"], engines.values["kv_used"]
    return Batches(
        replicas=[*fill],
        filled=float(np.mean([*fill.values()])),
        no_waiting=float((waiting[mine] == 0).mean()),
        full_cache=float((np.nan_to_num(cache[mine]) > _FULL_CACHE).mean()),
    )


def _middle(run: Run) -> np.ndarray:
    """Return which engine readings lie in the middle of the run.

    The first and the last 15% of the run do not count, nor does the time in which no
    sample was left to dispatch.
    """
    engines = run.measured.engines
    begin = run.begin_ns + 0.15 * run.wall_s * 1e9
    last = float(run.done.dispatched.max()) if len(run.done) else 0.0
    end = min(run.begin_ns + 0.85 * run.wall_s * 1e9, last)
    return (engines.t_ns >= begin) & (engines.t_ns <= end)
