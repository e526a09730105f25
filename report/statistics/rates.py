"""Arrival rates of a campaign: which one a size kept, and what its search left open."""

import numpy as np

from record.structs import Verdict
from report.reading.run import Run

RATE_CHECKS = {"loadgen_validity", "steady_state"}
"""Checks of the gate that a run may pass at a lower rate."""
_CONFIRMED = 3


def rate_of(run: Run) -> float:
    """Return the arrival rate that LoadGen was told (Server), in queries/s."""
    return float(run.settings.effective.get("server_target_qps") or 0.0)


def arrived_per_s(run: Run) -> float:
    """Return the rate at which queries came, in queries/s; 0 where it cannot be told.

    LoadGen draws arrivals from its seed: in a short run they come some percent faster
    or slower than it was told, and always by as much for the same number of queries.
    """
    issued = run.samples.issued
    if len(issued) < 2:
        return 0.0
    seconds = float(issued.max() - issued.min()) / 1e9
    return (len(issued) - 1) / seconds if seconds else 0.0


def paced(runs: list[Run]) -> bool:
    """Whether queries came at a rate of LoadGen's (Server, Interactive)."""
    # A run that died early may not tell its scenario.
    return {run.settings.loadgen_scenario for run in runs} - {""} == {"Server"}


def keeps_limits(run: Run) -> bool:
    """Whether the run shows that its rate is sustained.

    LoadGen and the gate accept it, and it was long enough to show a steady state. A
    full run is as long as the benchmark asks for.
    """
    too_short = run.settings.kind != "full" and steadiness(run) == "too_short"
    return run.verdict.outcome == "passed" and not too_short


def steadiness(run: Run) -> str:
    """Return the gate's word on the steady state; empty where it has none."""
    checks = (c for c in run.verdict.checks if c.name == "steady_state")
    return next((str(check.value) for check in checks), "")


def counted(runs: list[Run]) -> list[Run]:
    """Return the runs that stand for their size.

    Server: those at the highest rate at which every run kept the limits, of the rates
    that were tried three times where there are such; else all that completed something.
    """
    if not paced(runs):
        return [run for run in runs if len(run.done)]
    rates = {rate_of(run) for run in runs}
    tried = {rate: [run for run in runs if rate_of(run) == rate] for rate in rates}
    kept = {r: own for r, own in tried.items() if all(map(keeps_limits, own))}
    # A rate that a search passed once is no more than luck beside a confirmed one.
    confirmed = {r: own for r, own in kept.items() if len(own) >= _CONFIRMED}
    best = confirmed or kept
    return best[max(best)] if best else []


def misses_limits(verdict: Verdict) -> bool:
    """Whether a run fails by its rate alone: at a lower rate it may pass."""
    return verdict.outcome == "failed" and all(
        check.name in RATE_CHECKS for check in verdict.failures
    )


def left_open(runs: list[Run]) -> float:
    """Return by what factor a size's rate may be higher than the one that counts.

    That is the lowest rate at which a run missed the limits, above every rate at which
    one kept them, over the one that counts; NaN where there is none. 1 where rates are
    not searched.
    """
    if not paced(runs):
        return 1.0
    kept = max((rate_of(run) for run in runs if keeps_limits(run)), default=0.0)
    missed = [
        run for run in runs if misses_limits(run.verdict) and rate_of(run) > kept > 0
    ]
    if not missed:
        return float("nan")
    best = float(np.mean([arrived_per_s(run) for run in counted(runs)]))
    return max(1.0, min(arrived_per_s(run) for run in missed) / best)
