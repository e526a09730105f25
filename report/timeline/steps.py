"""What the engine's step records show over time.

A step that is long for its tokens is a slow step, whatever the load. What a step should
take is a straight line in its prompt tokens and decode sequences, fitted to the three
quarters of the run's steps that it fits best. The time between two steps while work
waited is time that the host took. Both are sharp in time: a record is one step, while
the time per output token of a request is a mean over its whole decode.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from record.steps import Steps
from report.reading.samples import BoolArray, FloatArray, IntArray
from report.statistics.numbers import least_trimmed
from report.timeline.grid import Grid, ratio

_FITTED = 20_000
"""Steps that the line is fitted to, evenly spread over the run."""
_AT_ONCE = 1_000_000
"""Steps read at once: bounds the memory."""
_CLIP = 1.5
"""Logarithm of the longest step, relative to what it should take: a single long step
is no episode."""


@dataclass(slots=True, kw_only=True)
class StepRecords:
    """Step records as they were written, and how to read them."""

    records: Steps
    """Of type `record.steps.STEP`; those of one replica are in order of time."""
    begin_ns: int
    """Time of the first arrival."""
    numbers: list[int]
    """Number of each replica, by index."""


@dataclass(slots=True, kw_only=True)
class StepSeries:
    """Series from step records, each of shape (replica, bin); NaN without a step."""

    step_s: FloatArray
    """Mean duration of a step."""
    excess: FloatArray
    """Mean logarithm of the duration relative to what its tokens should take."""
    gap_pct: FloatArray
    """Percent of the time in which the engine was between steps while work waited."""
    kv_free: FloatArray
    """Least free share of the KV cache; NaN where the engine has no such cache."""
    preempted: FloatArray
    """Requests that lost their cache, per s."""
    waiting: FloatArray
    """Mean number of waiting requests after a step was scheduled."""


def step_series(source: StepRecords, grid: Grid) -> StepSeries | None:
    """Return the series of the steps on the bins of `grid`; None without steps.

    10 million records take about five seconds, and 0.3 GB.
    """
    records = source.records
    if not len(records):
        return None
    line = fit_line(source)
    names = ("number", "seconds", "excess", "gap", "preempted", "waiting")
    sums = {name: np.zeros(grid.shape) for name in names}
    free = np.full(grid.shape, np.inf)
    most = np.zeros(grid.shape[0])
    for index, part in _by_replica(source):
        start: FloatArray = (part["start_ns"] - source.begin_ns) / 1e9
        took: FloatArray = part["duration_ns"] / 1e9
        log = np.log(np.maximum(took, 1e-9) / _expected(part, line))
        decode, waiting = (
            np.asarray(part[name]) for name in ("decode_sequences", "waiting")
        )
        work = np.logical_or(decode[1:] > 0, waiting[:-1] > 0)
        follows: BoolArray = np.equal(index[1:], index[:-1])
        ends, starts = start[:-1] + took[:-1], start[1:]
        real = follows & work & (starts > ends)
        sums["gap"] += grid.held(index[1:][real], ends[real], starts[real])
        own = {
            "number": np.ones(len(start)),
            "seconds": took,
            "excess": np.clip(log, -_CLIP, _CLIP),
            "preempted": np.asarray(part["preempted"], float),
            "waiting": waiting.astype(float),
        }
        for name, added in grid.sums(index, start, own).items():
            sums[name] += added
        every = np.asarray(part["kv_blocks_free"], float)
        known: BoolArray = every >= 0
        blocks = every[known]
        np.maximum.at(most, index[known], blocks)
        grid.least(free, index[known], start[known], blocks)
    number, gap = sums["number"], sums["gap"]
    free[~np.isfinite(free)] = np.nan
    excess = ratio(sums["excess"], number)
    filled = np.where((number > 0).any(axis=1, keepdims=True), excess, 0.0)
    return StepSeries(
        step_s=ratio(sums["seconds"], number),
        excess=excess - np.nanmedian(filled, axis=1)[:, None],
        # A bin within one long gap holds no step.
        gap_pct=np.where((number > 0) | (gap > 0), 100 * gap, np.nan),
        kv_free=ratio(free, np.broadcast_to(most[:, None], free.shape)),
        preempted=np.where(number > 0, sums["preempted"] / grid.width_s, np.nan),
        waiting=ratio(sums["waiting"], number),
    )


def _by_replica(source: StepRecords) -> Iterator[tuple[IntArray, Steps]]:
    """Yield the steps of a few replicas at once, with the index of each one's replica.

    Steps of a replica stay together and in order of time.
    """
    records, numbers = source.records, source.numbers
    index_of = np.full(np.iinfo(np.uint16).max + 1, -1, np.int64)
    index_of[numbers] = np.arange(len(numbers))
    owner = np.asarray(records["replica"])
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=len(index_of))
    ends = np.cumsum(counts)
    begin = 0
    present = np.flatnonzero(counts).tolist()
    for place, number in enumerate(present):
        following = ends[present[place + 1]] if place + 1 < len(present) else None
        end = int(ends[number])
        if following is not None and following - begin <= _AT_ONCE:
            continue
        part = records[order[begin:end]]
        begin = end
        index = index_of[part["replica"]]
        # What began before the first arrival belongs to the warm-up.
        own = (index >= 0) & (part["start_ns"] >= source.begin_ns)
        yield index[own], part[own]


def fit_line(source: StepRecords) -> FloatArray:
    """Return the coefficients of what a step should take, relative errors weighted.

    In s: of a step, a prompt token, a decode sequence, and a step with any prompt.
    """
    records = source.records
    chosen = records[:: max(1, len(records) // _FITTED)]
    took = np.maximum(chosen["duration_ns"] / 1e9, 1e-9)
    table = _table(chosen)
    # A drift over the run must not be taken for a cost of its larger batches.
    time = chosen["start_ns"] - float(chosen["start_ns"].mean())
    span = max(1.0, float(np.abs(time).max()))
    table = np.column_stack([table, time / span])
    fitted = least_trimmed(np.ones(len(took)), table / took[:, None])
    line: FloatArray = fitted[:-1]
    return line


def _table(steps: Steps) -> FloatArray:
    prefill = steps["prefill_tokens"].astype(float)
    decode = steps["decode_sequences"].astype(float)
    return np.column_stack([np.ones(len(steps)), prefill, decode, prefill > 0])


def _expected(steps: Steps, line: FloatArray) -> FloatArray:
    """Return the seconds that steps should take."""
    seconds: FloatArray = _table(steps) @ line
    least = max(1e-6, 0.1 * float(np.median(seconds))) if len(seconds) else 1e-6
    return np.maximum(seconds, least)
