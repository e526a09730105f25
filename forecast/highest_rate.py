"""The highest rate that meets the limits, by simulation.

Two rates are computed. The *rate of the run* is for one run of a stated length, with
LoadGen's own arrivals: bisection, since arrivals add no error. The *long-run rate* is
what the system holds whatever the arrivals, and however long: simulations with other
arrival seeds, at the same mean rate, show how much of the first rate was the luck of
the schedule, and how much the start with an empty system. Their first part is left out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import stdtrit

from forecast.evidence import Evidence
from forecast.limits import LimitState, Samples
from forecast.step_time import StepTime
from forecast.target import Target, simulate
from scenarios.schedule import ServerSchedule
from scenarios.steady_state import judge_times

TOLERANCE = 0.003
"""Of the rate of the run."""
_SEEDS = 4
_LONGER = 3
"""A long-run simulation has so many times the queries of the run, and as many as the
run itself before them, which are left out."""
_MOST_STEP, _SMALL_STEP = 0.05, 0.005
"""Of the logarithm of a rate, in the search of the long-run rate."""
_LEAST_BEHIND = 0.03
"""Share of arrivals by which completions must fall behind: a growth that is less may
be luck, and bisection would take it for a limit."""
_FARTHEST = 1000.0
_NEAR = 0.2
"""Rates this near to the result, in the logarithm, give the slope."""
_LEAST_SLOPE, _MOST_SLOPE = 0.5, 60.0
STEADY = "steady state"


@dataclass(slots=True, kw_only=True)
class RateEstimate:
    """What simulations say about the highest rate."""

    run_rate: float
    """`scenario.target_qps` of the fastest run that meets the limits, queries/s."""
    arrived: float
    """Queries/s that arrive in that run: LoadGen's draw is some percent off."""
    rate: float
    """Long-run rate, queries/s."""
    low: float
    """95% interval of the long-run rate."""
    high: float
    states: list[LimitState]
    """Of the limits, at the rate of the run."""
    slope: float
    """d log load / d log rate of the tightest limit there."""


@dataclass(slots=True, kw_only=True)
class RateSearch:
    """Searches rates for one kind of run."""

    evidence: Evidence
    target: Target
    queries_at: Callable[[float], int]
    """Queries of a run at a rate."""
    models: Sequence[StepTime] | None = None
    seed: int = 0
    offset: float = 0.0
    """Added to the logarithm of each limit's load: what a measured run had more."""
    tried: dict[float, list[LimitState]] = field(default_factory=dict)

    def states(self, rate: float, schedule_seed: int | None = None) -> list[LimitState]:
        """Return the state of each limit, and of the steady state, at `rate`.

        Args:
            rate: queries/s.
            schedule_seed: of a simulation for the long-run rate; None: the run itself.
        """
        count = self.queries_at(rate)
        ramp = 0
        if schedule_seed is not None:
            ramp, count = count, (1 + _LONGER) * count
        target = replace(self.target, rate=rate, queries=count)
        samples = simulate(self.evidence, target, self.models, self.seed, schedule_seed)
        samples = samples.after(ramp)
        factor = math.exp(self.offset)
        states = [
            replace(s, value=s.value * factor, load=s.load * factor)
            if s.unit == "ms"
            else s
            for s in target.limits.judge(samples)
        ]
        return [*states, _steady(samples)]

    def highest(self, near: float) -> float | None:
        """Return the highest rate of the run, by bisection; None: none or every one.

        Args:
            near: where to begin, queries/s.
        """
        low = high = near
        stride = 1.1
        while self._holds(high):
            low, high, stride = high, high * stride, min(2.0, stride**1.5)
            if high > _FARTHEST * near:
                return None
        if low == high:
            stride = 1.1
            while not self._holds(low):
                low, high, stride = low / stride, low, min(2.0, stride**1.5)
                if low < near / _FARTHEST:
                    return None
        while high / low > 1 + TOLERANCE:
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self._holds(middle) else (low, middle)
        return low

    def estimate(self, near: float, speed_error: float) -> RateEstimate | None:
        """Return both rates; None: no rate meets the limits, or every one does.

        Args:
            near: where to begin, queries/s.
            speed_error: standard deviation of the model's mean step time, relative.
        """
        run_rate = self.highest(near)
        if run_rate is None:
            return None
        count = self.queries_at(run_rate)
        own = self._arrived(run_rate, count, self.evidence.schedule_seed)
        slope, logs = self._slope(run_rate), []
        for number in range(_SEEDS):
            logs.append(self._lasting(math.log(own), 1_000_003 * (number + 1), slope))
        middle = float(np.mean(logs))
        # Steps that take s times as long: load(rate, s) = s x load(rate x s, 1).
        of_model = speed_error * (1 + 1 / slope)
        error = math.hypot(float(np.std(logs, ddof=1)) / _SEEDS**0.5, of_model)
        half = float(stdtrit(_SEEDS - 1, 0.975)) * error
        return RateEstimate(
            run_rate=run_rate,
            arrived=own,
            rate=math.exp(middle),
            low=math.exp(middle - half),
            high=math.exp(middle + half),
            states=self.tried[run_rate],
            slope=slope,
        )

    def _lasting(self, start: float, seed: int, slope: float) -> float:
        """Return the logarithm of the long-run rate for the arrivals of `seed`.

        One step by the slope of the run, which may be flatter than that of a longer
        simulation, and one by the slope that was found.
        """
        load = self._lasting_load(start, seed)
        step = min(_MOST_STEP, max(-_MOST_STEP, -load / slope))
        if abs(step) < _SMALL_STEP:
            return start + step
        nearer = start + step
        then = self._lasting_load(nearer, seed)
        found = min(_MOST_SLOPE, max(_LEAST_SLOPE, (then - load) / step))
        return nearer + min(_MOST_STEP, max(-_MOST_STEP, -then / found))

    def _lasting_load(self, log_rate: float, seed: int) -> float:
        """Return the logarithm of the load of a long run at queries/s that arrive."""
        rate = math.exp(log_rate)
        count = (1 + _LONGER) * self.queries_at(rate)
        # The same queries/s must arrive, whatever the draw.
        asked = rate * rate / self._arrived(rate, count, seed)
        states = [s for s in self.states(asked, seed) if s.name != STEADY]
        return math.log(max(_worst(states), 1e-6))

    def _holds(self, rate: float) -> bool:
        if rate not in self.tried:
            self.tried[rate] = self.states(rate)
        return _worst(self.tried[rate]) <= 1

    def _arrived(self, rate: float, count: int, seed: int) -> float:
        """Return the queries/s that arrive from the first to the last of `count`."""
        schedule = ServerSchedule(seed=seed, pass_queries=count, min_duration_s=0.0)
        return rate * (count - 1) / float(schedule.times(count)[count - 1])

    def _slope(self, rate: float) -> float:
        """Return d log load / d log rate near `rate`: a line through what was tried."""
        points = [
            (math.log(one / rate), math.log(load))
            for one, states in self.tried.items()
            if abs(math.log(one / rate)) < _NEAR
            and (load := _worst([s for s in states if s.name != STEADY])) > 0
        ]
        if len(points) < 3:
            return 1.0
        rates, loads = np.array(points).T
        slope = float(np.polyfit(rates, loads, 1)[0])
        return min(_MOST_SLOPE, max(_LEAST_SLOPE, slope))


def _worst(states: Sequence[LimitState]) -> float:
    return max((state.load for state in states), default=0.0)


def _steady(samples: Samples) -> LimitState:
    first = samples.first
    judged = judge_times(
        samples.issued,
        np.full(len(samples.done), np.nan) if first is None else first,
        samples.done,
    )
    behind = judged.completed_per_s < (1 - _LEAST_BEHIND) * judged.arrived_per_s
    growing = judged.word == "growing" and behind
    return LimitState(
        STEADY, judged.growth_per_s, 0.0, "1/s", 1.001 if growing else 0.0
    )


def speed_error(runs: Sequence[Evidence], models: Sequence[StepTime]) -> float:
    """Return the relative standard error of the models' mean step time.

    It is what the same engine differs by from one run to the next, at least 1%; with
    several runs, what these differ by.

    Args:
        runs: recorded runs.
        models: fitted from all of them.
    """
    least = 0.01
    if len(runs) < 2:
        return least
    ratios = [
        run.replicas[0].model.duration_s(*_typical(run))
        / models[0].duration_s(*_typical(run))
        for run in runs
    ]
    return max(least, float(np.std(np.log(ratios))))


def _typical(run: Evidence) -> tuple[int, int, int, int]:
    steps = run.replicas[0].steps
    decode = int(steps["decode_sequences"].mean())
    return int(steps["prefill_tokens"].mean()), decode, 1, 0
