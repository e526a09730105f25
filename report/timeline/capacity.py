"""What the settings of a run sustained, and which rate would keep the limits.

The sustained rate is measured: first tokens per second in the time in which requests
waited for their first token, so that replicas had all the work they could take, outside
of episodes. A run that never saturates does not show it.

The rate that keeps the limits is computed from it: Poisson arrivals at a lower rate in
front of servers of that capacity, first come, first served, each request taking time in
proportion to its tokens (Lindley's recursion; D. V. Lindley, Mathematical Proceedings
of the Cambridge Philosophical Society 48 (1952), 277-289).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from report.reading.samples import BoolArray
from report.statistics.noise import mean_interval
from report.timeline.episodes import LOAD, Episode
from report.timeline.series import Inputs, Series
from report.timeline.signals import queued_s, saturated

_FEWEST_BINS = 6
_FEWEST_FROM_EACH = 2
_TRIES = 3
_MOST_SIMULATED = 100_000
_STEPS = 9
_LOWEST = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """First tokens per second that the settings of a run sustained."""

    per_s: float
    low: float
    high: float
    """Interval of 95% by batch means."""
    seconds: float
    """Replica seconds in which it was measured."""
    late_tpot: float
    """Share of the requests decoded in that time that missed the TPOT limit."""
    queued_s: float
    """Seconds of queue from which on a replica counted as saturated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Safe:
    """The highest rate at which the limits would be kept."""

    per_s: float
    low: float
    high: float
    """The rates for the ends of the capacity's interval."""
    late_at_run: float
    """Share of late requests that the same model gives at the rate of the run."""


def in_episodes(series: Series, episodes: Sequence[Episode]) -> BoolArray:
    """Return the bins in which a replica was not as usual, or had a queue from then.

    Changes of the load are left out: replicas work as usual then.
    """
    touched = np.zeros(series.arrivals.shape, bool)
    for one in episodes:
        if one.cause in LOAD or one.drift:
            continue
        begin = int(one.begin_s / series.width_s)
        end = int(np.ceil(one.felt_until_s / series.width_s))
        touched[one.replicas, begin:end] = True
    return touched


def measure_capacity(
    inputs: Inputs, series: Series, episodes: Sequence[Episode]
) -> Capacity | None:
    """Return what the run sustained; None: it was not saturated for long enough.

    An interval that reaches down to 0 says nothing either: first tokens in few batches
    that lie far apart, or none at all.

    Replicas that were never saturated are taken to be like the others.
    """
    full = saturated(inputs, series) & ~in_episodes(series, episodes)
    if full.sum() < _FEWEST_BINS:
        return None
    rates = series.first_tokens
    number = full.sum(axis=1)
    enough = number >= _FEWEST_FROM_EACH
    if not enough.any():
        return None
    full &= enough[:, None]
    means = np.where(full, rates, 0.0).sum(axis=1)[enough] / number[enough]
    replicas = len(inputs.names)
    low, high = mean_interval(rates[full])
    half = (high - low) / 2 * replicas
    per_s = float(np.average(means, weights=number[enough])) * replicas
    if per_s <= half:
        return None
    return Capacity(
        per_s=per_s,
        low=per_s - half,
        high=per_s + half,
        seconds=float(full.sum() * series.width_s),
        late_tpot=_late_tpot(inputs, series, full),
        queued_s=queued_s(inputs),
    )


def _late_tpot(inputs: Inputs, series: Series, full: BoolArray) -> float:
    """Return the share of requests in decode in these bins that missed the limit."""
    if inputs.tpot_limit_s is None:
        return 0.0
    requests = inputs.requests
    middle = (requests.first + requests.completed) / 2
    known = ~np.isnan(middle) & (requests.replica >= 0)
    place = np.minimum(middle[known] / series.width_s, series.bins - 1).astype(np.int64)
    own = full[requests.replica[known], place]
    late = requests.tpot[known][own] > inputs.tpot_limit_s
    return float(late.mean()) if len(late) else 0.0


def safe_rate(inputs: Inputs, capacity: Capacity) -> Safe | None:
    """Return the highest rate that keeps the limits; None: no rate down to 30% does."""
    rates = [
        _highest(inputs, capacity, per_s)
        for per_s in (capacity.low, capacity.per_s, capacity.high)
    ]
    low, middle, high = rates
    if middle is None:
        return None
    requests = inputs.requests
    run = len(requests) / max(1e-9, float(np.nanmax(requests.arrived)))
    return Safe(
        per_s=middle,
        low=low or middle,
        high=high or middle,
        late_at_run=_late(inputs, capacity, capacity.per_s, run),
    )


def _highest(inputs: Inputs, capacity: Capacity, per_s: float) -> float | None:
    allowed = 1 - inputs.percentile
    low, high = _LOWEST, 1.0
    if _late(inputs, capacity, per_s, low * per_s) > allowed:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _late(inputs, capacity, per_s, middle * per_s) > allowed:
            high = middle
        else:
            low = middle
    return low * per_s


def _late(inputs: Inputs, capacity: Capacity, per_s: float, rate: float) -> float:
    """Return the share of requests that miss a limit at a rate; the worse limit counts.

    Several replicas share a queue in this model, as they do with a balancer that knows
    their load. TPOT is late as often as it was when the run was saturated, in the time
    in which the model is.
    """
    requests = inputs.requests
    ttft = requests.ttft
    unqueued = ttft[ttft < capacity.queued_s]
    base = float(np.median(unqueued)) if len(unqueued) else 0.0
    work = (requests.prompt_tokens + requests.output_tokens).astype(float)
    count = min(len(work), _MOST_SIMULATED)
    shares: list[float] = []
    for seed in range(_TRIES):
        draw = np.random.default_rng(seed)
        service = draw.choice(work, count) / work.mean() / per_s
        # W(n+1) = max(0, W(n) + service(n) - gap(n)), as a running minimum of sums.
        walk = np.cumsum(service[:-1] - draw.exponential(1 / rate, count - 1))
        walk = np.concatenate([[0.0], walk])
        wait = walk - np.minimum.accumulate(walk)
        late = 0.0
        if inputs.ttft_limit_s is not None:
            late = float((wait + base > inputs.ttft_limit_s).mean())
        if inputs.tpot_limit_s is not None:
            queued = float((wait > capacity.queued_s).mean())
            late = max(late, queued * capacity.late_tpot)
        shares.append(late)
    return float(np.mean(shares))
