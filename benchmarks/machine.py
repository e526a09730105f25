"""What a machine gives at the moment: figures measured on it depend on that."""

import multiprocessing
import os
import time
from dataclasses import dataclass

_LOOK_S = 2.0
_GAP_S = 0.001
"""A loop that spins is stopped for so long only when something else runs."""


@dataclass(slots=True, kw_only=True)
class Machine:
    """What the cores gave a spinning loop."""

    turns_m: float
    """Million turns per second, of the slowest core."""
    lost_pct: float
    """Time that passed in gaps, of the core that lost most."""


def look_at_machine() -> Machine:
    """Spin on every core at once for two seconds."""
    cores = sorted(os.sched_getaffinity(0))
    with multiprocessing.Pool(len(cores)) as pool:
        readings = pool.map(_read_core, cores, chunksize=1)
    return Machine(
        turns_m=min(turns for turns, _ in readings),
        lost_pct=max(lost for _, lost in readings),
    )


def _read_core(core: int) -> tuple[float, float]:
    """Return million turns per second of `core`, and the percentage of time lost."""
    os.sched_setaffinity(0, {core})
    turns, lost = 0, 0.0
    begin = before = time.perf_counter()
    while before < begin + _LOOK_S:
        now = time.perf_counter()
        if now - before > _GAP_S:
            lost += now - before
        before = now
        turns += 1
    seconds = before - begin
    return turns / seconds / 1e6, 100 * lost / seconds
