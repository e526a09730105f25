"""Arrival rates of a campaign: which rate a size sustained, and its upper bound."""

import numpy as np

from record.structs import Verdict
from report.reading.run import Run

RATE_CHECKS = {"loadgen_validity", "steady_state"}
"""Checks of the gate that a run may pass at a lower rate."""
_CONFIRMED = 3


def rate_of(run: Run) -> float:
    """Return the arrival rate that LoadGen was set to (Server), in queries/s."""
    return run.settings.number("server_target_qps") or 0.0


def arrived_per_s(run: Run) -> float:
    """Return the rate at which queries arrived, in queries/s; 0 below two queries.

    LoadGen draws arrivals from its seed. In a short run they arrive some percent faster
    or slower than the rate that was set; the same number of queries always arrives by
    the same percentage faster or slower.
    """
    issued = run.samples.issued
    if len(issued) < 2:
        return 0.0
    seconds = float(issued.max() - issued.min()) / 1e9
    return (len(issued) - 1) / seconds if seconds else 0.0


def is_server(runs: list[Run]) -> bool:
    """Whether LoadGen issued queries at a set rate (Server, Interactive)."""
    # A run that died early may lack its scenario.
    return {run.settings.loadgen_scenario for run in runs} - {""} == {"Server"}


def keeps_limits(run: Run) -> bool:
    """Whether the run shows that its rate is sustained.

    LoadGen and the gate accepted the run, and it was long enough to show a steady
    state. A full run is as long as the benchmark requires.
    """
    too_short = run.settings.kind != "full" and steadiness(run) == "too_short"
    return run.verdict.outcome == "passed" and not too_short


def steadiness(run: Run) -> str:
    """Return the gate's value of `steady_state`; empty if there was no such check."""
    checks = (c for c in run.verdict.checks if c.name == "steady_state")
    return next((str(check.value) for check in checks), "")


def representative_runs(runs: list[Run]) -> list[Run]:
    """Return the runs of one size that give its result.

    Server: the runs at the highest rate at which every run met the limits. Rates that
    were tried three times or more take precedence over rates that were tried less
    often. Other scenarios: all runs that completed a sample.
    """
    if not is_server(runs):
        return [run for run in runs if len(run.done)]
    rates = {rate_of(run) for run in runs}
    tried = {rate: [run for run in runs if rate_of(run) == rate] for rate in rates}
    kept = {r: own for r, own in tried.items() if all(map(keeps_limits, own))}
    # A rate that passed once in a search may be luck; a confirmed rate is not.
    confirmed = {r: own for r, own in kept.items() if len(own) >= _CONFIRMED}
    best = confirmed or kept
    return best[max(best)] if best else []


def misses_limits(verdict: Verdict) -> bool:
    """Whether a run failed only checks that it may pass at a lower rate."""
    return verdict.outcome == "failed" and all(
        check.name in RATE_CHECKS for check in verdict.failures
    )


def rate_upper_bound(runs: list[Run]) -> float:
    """Return the upper bound of a size's rate, as a factor of the rate that was found.

    The bound is the lowest rate that missed the limits and lies above every rate that
    kept them. NaN if there is no such rate; 1 if rates are not searched.
    """
    if not is_server(runs):
        return 1.0
    kept = max((rate_of(run) for run in runs if keeps_limits(run)), default=0.0)
    missed = [
        run for run in runs if misses_limits(run.verdict) and rate_of(run) > kept > 0
    ]
    if not missed:
        return float("nan")
    best = float(np.mean([arrived_per_s(run) for run in representative_runs(runs)]))
    return max(1.0, min(arrived_per_s(run) for run in missed) / best)
