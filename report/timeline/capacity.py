"""What the settings of a run sustained, and which rate would meet the limits.

The sustained rate is measured: first tokens per second in the time in which requests
waited for their first token, so that replicas had all the work they could take, outside
of episodes. A run that never saturates does not show it.

The rate that meets the limits is computed from it: Poisson arrivals at a lower rate in
front of servers of that capacity, first come, first served, each request taking time in
proportion to its tokens (Lindley's recursion; D. V. Lindley, Mathematical Proceedings
of the Cambridge Philosophical Society 48 (1952), 277-289).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from report.reading.samples import BoolArray, FloatArray
from report.statistics.noise import mean_interval
from report.timeline.episodes import LOAD, Episode
from report.timeline.series import Inputs, Series
from report.timeline.signals import queued_s, saturated

_FEWEST_BINS = 6
_FEWEST_FROM_EACH = 2
_TRIES = 20
_MOST_FAILED = 0.1
"""Share of simulated runs that may miss a limit at the rate that keeps it."""
_STRICT = 2.33
"""Normal quantile of LoadGen's early stopping (99%)."""
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
    """Return the highest rate that meets the limits; None: no rate down to 30% does.

    Nine of ten simulated runs as long as this one keep them, with the margin that
    LoadGen's early stopping asks for.
    """
    queue = _Queue(inputs, capacity)
    low, middle, high = (
        queue.highest(per_s) for per_s in (capacity.low, capacity.per_s, capacity.high)
    )
    if middle is None:
        return None
    requests = inputs.requests
    run = len(requests) / max(1e-9, float(np.nanmax(requests.arrived)))
    return Safe(
        per_s=middle,
        low=low or middle,
        high=high or middle,
        late_at_run=float(queue.late(capacity.per_s, run).mean()),
    )


class _Queue:
    """Simulated runs of one queue; the same draws at every rate.

    Several replicas share a queue in this model, as they do with a balancer that knows
    their load.
    """

    def __init__(self, inputs: Inputs, capacity: Capacity) -> None:
        requests = inputs.requests
        ttft = requests.ttft
        unqueued = ttft[ttft < capacity.queued_s]
        work = (requests.prompt_tokens + requests.output_tokens).astype(float)
        self.inputs, self.capacity = inputs, capacity
        self.base_s = float(np.median(unqueued)) if len(unqueued) else 0.0
        self.count = min(len(work), _MOST_SIMULATED)
        late = 1 - inputs.percentile
        margin = _STRICT * (late * inputs.percentile / max(1, self.count)) ** 0.5
        self.allowed = max(0.0, late - margin)
        draw = np.random.default_rng(0)
        shape = (_TRIES, max(0, self.count - 1))
        # Single precision: the sums are of times up to some thousand seconds.
        self.service = draw.choice(work / work.mean(), shape).astype(np.float32)
        self.gap = draw.exponential(1.0, shape).astype(np.float32)

    def highest(self, per_s: float) -> float | None:
        """Return the highest rate that meets the limits if `per_s` is sustained."""
        low, high = _LOWEST, 1.0
        if not self._keeps(per_s, low * per_s):
            return None
        for _ in range(_STEPS):
            middle = (low + high) / 2
            if self._keeps(per_s, middle * per_s):
                low = middle
            else:
                high = middle
        return low * per_s

    def _keeps(self, per_s: float, rate: float) -> bool:
        failed = self.late(per_s, rate) > self.allowed
        return float(failed.mean()) <= _MOST_FAILED

    def late(self, per_s: float, rate: float) -> FloatArray:
        """Return the share of late requests of each run; the worse limit counts.

        TPOT is late as often as it was when the run was saturated, in the time in which
        the model is.
        """
        inputs, capacity = self.inputs, self.capacity
        shares = np.zeros(_TRIES)
        for one, (service, gap) in enumerate(zip(self.service, self.gap, strict=True)):
            # W(n+1) = max(0, W(n) + service(n) - gap(n)), as a minimum of sums so far.
            walk = np.cumsum(service / per_s - gap / rate, dtype=np.float64)
            walk = np.concatenate([[0.0], walk])
            wait = walk - np.minimum.accumulate(walk)
            if inputs.ttft_limit_s is not None:
                shares[one] = (wait + self.base_s > inputs.ttft_limit_s).mean()
            if inputs.tpot_limit_s is not None:
                queued = float((wait > capacity.queued_s).mean())
                shares[one] = max(shares[one], queued * capacity.late_tpot)
        return shares
