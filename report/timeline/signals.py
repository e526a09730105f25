"""Series in which an episode would show, made comparable over the time of a run.

A signal is a series that stays level as long as nothing changes, whatever the load
does. What depends on the load is adjusted for it first.
"""

from dataclasses import dataclass

import numpy as np

from report.reading.samples import BoolArray, FloatArray
from report.statistics.numbers import least_trimmed
from report.timeline.series import Inputs, Series

_FILLED = 0.5
"""Bins with less than this share of the median batch are ramp or drain (Offline)."""
_NEWS = 0.1
"""While the first batch fills, steps are short: only slower ones are news."""
_QUEUED_S = 0.5
"""A queue this many seconds long shows that a replica had all the work it could take,
or half the TTFT limit, whichever is shorter."""
_WAITING = 4.0
"""Waiting requests from which on a GPU has no reason to be idle."""
_FEWEST_TO_FIT = 20
_SHORTEST = 0.01
"""Quantile of the time per output token that stands for the shortest step."""
_SLOWER, _SLOWER_STEP = 0.08, 0.05
"""Least change of the time per output token, and of a step's time for its tokens."""


@dataclass(slots=True, kw_only=True)
class Signal:
    """One series to look for changes in."""

    name: str
    rows: FloatArray
    """Shape (replica, bin), or (1, bin) for what concerns the load of the whole run."""
    least: float
    """Smallest change that matters, in the series' own unit."""
    direction: int
    """1: only rises matter, -1: only falls, 0: both."""
    drifts: bool = True
    least_error: float = 0.0
    """Standard deviation of a bin, at least."""
    given_load: FloatArray | None = None
    """The same adjusted for what each replica worked on, shape (replica, bin): shows
    which replicas were slow, and which only had the work of a slow one."""


def make_signals(inputs: Inputs, series: Series) -> list[Signal]:
    """Return the signals that a run has data for.

    - `arrivals`: square root of the number of arrivals of the run, twice, so that
      Poisson counts have a deviation of 1 (F. J. Anscombe, Biometrika 35 (1948), 246).
    - `prompts`: mean prompt tokens of the requests that arrived in a bin.
    - `speed`: log of the time per output token, less what the offered work of the last
      seconds explains; with step records, log of the time of a step relative to what
      its tokens should take.
    - `gap`: percent of the time between steps while work waited (step records).
    - `lost`: percent of the time in which the GPU was idle while requests waited.
    - `idle`: percent of the time in which the GPU was idle although requests ran.
    - `clock`: SM clock in percent of its median.
    - `outside`: ms that requests spent outside their replica.
    """
    signals: list[Signal] = []
    length = last_whole_bin(inputs, series)
    if inputs.poisson:
        signals.append(_arrivals(series, length))
    if inputs.poisson or len(np.unique(inputs.requests.arrived)) > 1:
        signals.append(_prompts(series, length))
    steps, away = series.steps, _away(inputs, series)
    speed = adjusted_step(inputs, series) if steps is None else steps.excess.copy()
    least = _SLOWER if steps is None else _SLOWER_STEP
    shared = steps is None and inputs.poisson and len(speed) > 1
    signals.append(
        Signal(
            name="speed",
            rows=speed,
            least=least,
            direction=1,
            given_load=_slowness(series) if shared else None,
        )
    )
    speed[away] = np.nan
    if not inputs.poisson:
        speed[~_filled(series)] = np.nan
    if steps is not None:
        gap = np.where(away, np.nan, steps.gap_pct)
        signals.append(Signal(name="gap", rows=gap, least=5.0, direction=1))
    working = (series.decoding > 0.5) & ~away
    idle = np.where(working, 100 - series.gauge("utilization_pct"), np.nan)
    if not np.isnan(idle).all():
        waiting = np.clip(series.gauge("waiting") / _WAITING, 0, 1)
        signals += [
            Signal(
                name="lost", rows=idle * waiting, least=8.0, direction=1, drifts=False
            ),
            Signal(name="idle", rows=idle, least=8.0, direction=1),
        ]
    clock = np.where(working, series.gauge("sm_clock_mhz"), np.nan)
    if not np.isnan(clock).all():
        signals.append(
            Signal(name="clock", rows=100 * relative(clock), least=3.0, direction=-1)
        )
    outside = 1e3 * series.outside_s
    if inputs.streamed and not np.isnan(outside).all():
        signals.append(Signal(name="outside", rows=outside, least=10.0, direction=1))
    return signals


def _away(inputs: Inputs, series: Series) -> BoolArray:
    """Return the bins in which a replica was not part of the run, and those beside."""
    away = np.zeros(series.arrivals.shape, bool)
    room = 2 * series.width_s + inputs.service_s
    for one in inputs.absences:
        begin = int(max(0.0, one.begin_s - room) / series.width_s)
        end = int((one.end_s + room) / series.width_s) + 1
        away[one.replica, begin:end] = True
    return away


def last_whole_bin(inputs: Inputs, series: Series) -> int:
    """Return the number of bins before the last arrival."""
    last = float(np.nanmax(inputs.requests.arrived)) if len(inputs.requests) else 0.0
    return max(1, min(series.bins, int(last / series.width_s)))


def saturated(inputs: Inputs, series: Series) -> BoolArray:
    """Return the bins in which a replica had a queue, shape (replica, bin)."""
    length = last_whole_bin(inputs, series)
    rate = series.arrivals[:, :length].mean(axis=1, keepdims=True)
    ttft = inputs.requests.ttft
    shortest = float(np.nanquantile(ttft, 0.02)) if (~np.isnan(ttft)).any() else 0.0
    # A long prefill alone is no queue.
    full: BoolArray = series.unanswered > max(3 * shortest, queued_s(inputs)) * rate
    full[:, length:] = False
    return full


def queued_s(inputs: Inputs) -> float:
    """Return the seconds of queue that show saturation."""
    return min(_QUEUED_S, (inputs.ttft_limit_s or 2 * _QUEUED_S) / 2)


def relative(rows: FloatArray) -> FloatArray:
    """Return each row divided by its median."""
    filled = np.where(np.isnan(rows).all(axis=1, keepdims=True), 1.0, rows)
    middle: FloatArray = np.nanmedian(filled, axis=1, keepdims=True)
    result: FloatArray = rows / np.where(middle > 0, middle, 1.0)
    return result


def adjusted_step(inputs: Inputs, series: Series) -> FloatArray:
    """Return the log of the time per output token, adjusted for the load.

    With random arrivals a straight line in the offered work of the last seconds
    (exponentially weighted, over one and over four decode times) is subtracted. It is
    fitted to the three quarters of the bins that it fits best. Offered work does not
    depend on how fast a replica is; the number of requests in decode would. Elsewhere
    only bins with full batches are compared.
    """
    steps = series.step_s
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(steps)
    log[~np.isfinite(log)] = np.nan
    if inputs.poisson:
        log[:, last_whole_bin(inputs, series) :] = np.nan
    else:
        log[~_filled(series)] = np.nan
    known = ~np.isnan(log)
    middle = np.nanmedian(np.where(known.any(axis=1)[:, None], log, 0.0), axis=1)
    log -= np.asarray(middle)[:, None]
    if not inputs.poisson:
        return log
    offered = series.offered_tokens
    # The median: a replica that was away for a while had no work then.
    scale = np.maximum(np.median(offered, axis=1), 1e-9)[:, None]
    features = [
        smoothed(offered / scale, max(1e-9, span * inputs.service_s / series.width_s))
        - 1
        for span in (1.0, 4.0)
    ]
    # The batch fills within the first few decode times: a shorter step then is no news.
    ramp = int(np.ceil(3 * inputs.service_s / series.width_s))
    table = np.stack([np.ones(log.shape), *features], axis=-1)
    use = known.copy()
    use[:, :ramp] = False
    y, x = log[use], table[use]
    if len(y) < 20:
        return log
    fitted = least_trimmed(y, x)
    result: FloatArray = log - table @ fitted
    early = log[:, :ramp]
    slow = np.nan_to_num(early).mean(axis=1, keepdims=True) > _NEWS
    result[:, :ramp] = np.where(slow, early, np.nan)
    result[~known] = np.nan
    return result


def _slowness(series: Series) -> FloatArray:
    """Return the log of the time per output token relative to that of a like load.

    A line in the requests in decode and in the first tokens per second is fitted to all
    replicas. A replica that takes over the work of a slow one stays on that line; the
    slow one is above it.
    """
    steps = series.step_s
    known = (steps > 0) & (series.decoding > 0)
    if known.sum() < _FEWEST_TO_FIT:
        return np.zeros(steps.shape)
    table = np.stack(
        [np.ones(steps.shape), series.decoding, series.first_tokens], axis=-1
    )
    expected = table @ least_trimmed(steps[known], table[known])
    # A step is never shorter than those of a replica with next to nothing to do.
    expected = np.maximum(expected, np.quantile(steps[known], _SHORTEST))
    result = np.full(steps.shape, np.nan)
    result[known] = np.log(steps[known] / expected[known])
    return result


def _filled(series: Series) -> BoolArray:
    """Return the bins with a batch that is no ramp and no drain (Offline)."""
    busy = np.where(series.decoding > 0, series.decoding, np.nan)
    filled: BoolArray = relative(busy) >= _FILLED
    return filled


def smoothed(rows: FloatArray, bins: float) -> FloatArray:
    """Return the exponentially weighted mean of each row over the last `bins` bins."""
    keep = float(np.exp(-1 / bins))
    now, result = rows.mean(axis=1), np.empty_like(rows)
    for place in range(rows.shape[1]):
        now = keep * now + (1 - keep) * rows[:, place]
        result[:, place] = now
    return result


def _arrivals(series: Series, length: int) -> Signal:
    counts = series.arrivals[:, :length].sum(axis=0) * series.width_s
    rows = np.full((1, series.bins), np.nan)
    rows[0, :length] = 2 * np.sqrt(counts + 0.375)
    # 5% of the mean rate, on the scale of twice the square root.
    least = 0.05 * float(np.sqrt(counts.mean())) if length else 0.0
    return Signal(name="arrivals", rows=rows, least=least, direction=0, least_error=1.0)


def _prompts(series: Series, length: int) -> Signal:
    arrived = series.arrivals[:, :length]
    tokens = np.nansum(series.prompt_tokens[:, :length] * arrived, axis=0)
    count = arrived.sum(axis=0)
    rows = np.full((1, series.bins), np.nan)
    np.divide(tokens, count, out=rows[0, :length], where=count > 0)
    known = rows[~np.isnan(rows)]
    least = 0.05 * float(known.mean()) if len(known) else 0.0
    return Signal(name="prompts", rows=rows, least=least, direction=0)
