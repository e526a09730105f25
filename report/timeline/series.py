"""A run on one time axis: what arrived, what was answered, what the hosts did.

All series have the same bins, of `width_s` seconds each, which begin at the first
arrival. A series has the shape (replica, bin) and is NaN where nothing was recorded.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from report.reading.samples import FloatArray, IntArray
from report.timeline.grid import Grid, Readings, ratio
from report.timeline.steps import StepRecords, StepSeries, step_series

NICE_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0)
"""Widths of a bin in s that a reader can count with."""

GAUGES = (
    "running",
    "waiting",
    "kv_used",
    "utilization_pct",
    "power_w",
    "sm_clock_mhz",
    "process_cpu_pct",
    "host_cpu_pct",
    "steal_pct",
)
"""Telemetry whose mean over a bin means something."""


@dataclass(slots=True, kw_only=True)
class Requests:
    """The requests of a run as columns, one entry each, in any order.

    Times are seconds after the first arrival, NaN where there is none.
    """

    replica: IntArray
    """Index of the replica, -1 where none had it."""
    arrived: FloatArray
    first: FloatArray
    """First token; where none was streamed, the begin of decode."""
    completed: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    outside: FloatArray
    """Seconds between dispatch and completion that the replica did not hold it."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.arrived)

    @property
    def ttft(self) -> FloatArray:
        """Arrival to first token, in s."""
        return self.first - self.arrived

    @property
    def tpot(self) -> FloatArray:
        """Mean time per output token after the first, in s; NaN below two tokens."""
        later = np.where(self.output_tokens > 1, self.output_tokens - 1.0, np.nan)
        result: FloatArray = (self.completed - self.first) / later
        return result


@dataclass(slots=True, kw_only=True)
class Absence:
    """A span in which a replica was not part of the run."""

    replica: int
    begin_s: float
    end_s: float
    cause: str


@dataclass(kw_only=True)
class Inputs:
    """What the analysis of a run needs."""

    requests: Requests
    names: list[str]
    """Of the replicas, by index."""
    host: IntArray
    """Index of each replica's host."""
    hosts: list[str]
    readings: dict[str, Readings] = field(default_factory=dict)
    """By measure: `GAUGES` and "throttle_reasons" (NVML's bit mask)."""
    steps: StepRecords | None = None
    absences: list[Absence] = field(default_factory=list)
    poisson: bool = False
    """Whether arrivals are random with a constant rate (Server, Interactive)."""
    streamed: bool = True
    """Whether the time of the first token was recorded."""
    ttft_limit_s: float | None = None
    tpot_limit_s: float | None = None
    percentile: float = 0.99
    """Share of the requests that must keep each limit."""
    asked_per_s: float | None = None
    """Arrival rate that was asked for."""
    forecast_per_s: tuple[float, float, float] | None = None
    """Highest rate that the run would have held, by a forecast from its steps: value,
    and low and high end of the 90% interval."""

    @cached_property
    def wall_s(self) -> float:
        """First arrival to last completion."""
        done = self.requests.completed
        known = done[~np.isnan(done)]
        return float(known.max()) if len(known) else 0.0

    @cached_property
    def service_s(self) -> float:
        """Median time from first token to completion: how long a step time is felt."""
        own = self.requests.completed - self.requests.first
        known = own[~np.isnan(own)]
        return float(np.median(known)) if len(known) else 0.0


@dataclass(kw_only=True)
class Series:
    """All series of a run; rates are per second."""

    width_s: float
    arrivals: FloatArray
    """Requests that arrived, by the replica that answered them, per s."""
    prompt_tokens: FloatArray
    """Mean prompt tokens of a request that arrived; NaN where none did."""
    first_tokens: FloatArray
    completions: FloatArray
    offered_tokens: FloatArray
    """Prompt and output tokens of the requests that arrived, per s."""
    unanswered: FloatArray
    """Requests that arrived and had no first token, mean over the bin."""
    decoding: FloatArray
    """Requests between first token and completion, mean over the bin."""
    step_s: FloatArray
    """Mean time per output token of the requests in decode, in s: stands for the time
    of an engine step. It is smooth over about one request's decode time."""
    outside_s: FloatArray
    """Mean seconds that completed requests spent outside their replica."""
    gauges: dict[str, FloatArray]
    """Mean telemetry, by measure."""
    throttle: IntArray
    """Bits of NVML's clock event reasons seen in the bin."""
    steps: StepSeries | None = None
    """From the records of engine steps; None: there are none."""

    @property
    def bins(self) -> int:
        """Number of bins."""
        return int(self.arrivals.shape[1])

    @property
    def edges(self) -> FloatArray:
        """Begin of each bin and end of the last, in s."""
        return np.linspace(0, self.bins * self.width_s, self.bins + 1)

    def gauge(self, name: str) -> FloatArray:
        """Return the series of a measure; all NaN where it was not recorded."""
        return self.gauges.get(name, np.full(self.arrivals.shape, np.nan))


def width_for(wall_s: float, most_bins: int, least_s: float = 0.0) -> float:
    """Return the least of `NICE_WIDTHS` from `least_s` that makes few enough bins."""
    wanted = max(wall_s / most_bins, least_s)
    return next((w for w in NICE_WIDTHS if w >= wanted), wanted)


def make_series(inputs: Inputs, width_s: float) -> Series:
    """Return all series of a run with bins of `width_s` seconds.

    Each is a sum over requests by bin: a million of them take well under a second.
    """
    requests, rows = inputs.requests, len(inputs.names)
    bins = max(1, int(np.ceil(inputs.wall_s / width_s)))
    grid = Grid(rows, bins, width_s)
    owner = requests.replica
    arrivals = grid.count(owner, requests.arrived)
    work = (requests.prompt_tokens + requests.output_tokens).astype(float)
    prompts = grid.add(owner, requests.arrived, requests.prompt_tokens.astype(float))
    completions = grid.count(owner, requests.completed)
    outside = grid.add(owner, requests.completed, np.nan_to_num(requests.outside))
    known = grid.add(
        owner, requests.completed, (~np.isnan(requests.outside)).astype(float)
    )
    tpot = requests.tpot
    timed = ~np.isnan(tpot)
    decoding = grid.held(owner, requests.first, requests.completed)
    weighted = grid.held(
        owner[timed], requests.first[timed], requests.completed[timed], tpot[timed]
    )
    counted = grid.held(owner[timed], requests.first[timed], requests.completed[timed])
    return Series(
        width_s=width_s,
        arrivals=arrivals / width_s,
        prompt_tokens=ratio(prompts, arrivals),
        first_tokens=grid.count(owner, requests.first) / width_s,
        completions=completions / width_s,
        offered_tokens=grid.add(owner, requests.arrived, work) / width_s,
        unanswered=grid.held(owner, requests.arrived, requests.first),
        decoding=decoding,
        step_s=ratio(weighted, np.where(counted > 0.05, counted, 0.0)),
        outside_s=ratio(outside, known),
        gauges={
            name: grid.mean(inputs.readings[name])
            for name in GAUGES
            if name in inputs.readings
        },
        throttle=grid.bits(inputs.readings.get("throttle_reasons")),
        steps=None if inputs.steps is None else step_series(inputs.steps, grid),
    )


def mean_over(rows: FloatArray) -> FloatArray:
    """Return the mean over replicas of each bin; NaN where none is known."""
    known = ~np.isnan(rows)
    return ratio(np.where(known, rows, 0.0).sum(axis=0), known.sum(axis=0))
