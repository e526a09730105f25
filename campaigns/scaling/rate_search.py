"""Finds, for each size, the highest arrival rate that the system sustains.

A rate is sustained where the run at it met the latency limits (LoadGen's VALID) and
was in a steady state (`scenarios.steady_state`). How long a run must be is worked out
for each rate from the service latency seen so far. A run is to last

- `LATENCIES` x (service latency + the wait that the TTFT limit allows, at most another
  service latency): the batch fills from empty, and an overload needs time to show;
- as many queries as the tolerance asks for: (`_LUCK` / tolerance)^2. Arrivals are drawn
  at random, and in simulations of 20 engines the rate that n queries found lay
  1.3 / sqrt(n) (one standard deviation) beside the true one;
- as many as LoadGen's early stopping needs to judge the percentile p closely: it allows
  (1 - p) n - 2.33 sqrt(p (1 - p) n) samples over a limit (the normal approximation of
  its binomial bound). `_MARGIN` p / (1 - p) queries keep the second term small.

A run that was too short does not count: it is repeated, longer. Where a run would have
to be longer than allowed, the search ends without a rate and says what it would take.

The search first brackets the rate roughly, with short runs, and then closely.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from base.errors import NotGood
from campaigns.outcome import Trial

LATENCIES = 20.0
COARSE = 0.15
"""Tolerance of the rough search."""
STEPS_IN_TOLERANCE = 3
"""The close search ends at a step this many times finer than the tolerance."""
_LUCK = 3.5
_FEW = 12.0
_MARGIN = 240.0
_FIRST_QUERIES = 100
_SPARE = 1.1
"""Service latencies grow with the rate; so much longer a run is made at once."""
_MOST_PROBES = 30
_MOST_REPEATS = 4
_LONGEST_STEP = 2.0


class NoRateError(NotGood):
    """No rate was found; the message says why."""


Probe = Callable[[float, int], Trial]
"""Makes a run at a rate in queries/s with so many queries at least."""


@dataclass(slots=True, kw_only=True)
class Lengths:
    """How many queries a run at a rate must have."""

    floor: int = _FIRST_QUERIES
    """Queries that every run has at least."""
    longest_s: float = 600.0
    """No run is planned to last longer."""
    service_s: float = 0.0
    """Service latency of the last run; 0: no run was made."""
    held: float = 1.0
    """Samples in service at once in it, mean."""
    percentile: float = 0.9
    """At which latency is judged, 0 to 1."""
    ttft_limit_s: float = 0.0
    """Limit on TTFT in s; 0: none."""
    finished_per_s: float = 0.0
    """Most completions per second of any run, its drain included."""
    fixed: bool = False
    """Whether the benchmark's rules fix the length (run=full)."""

    def learn(self, trial: Trial) -> None:
        """Take what a run showed."""
        steady = trial.steady
        self.service_s = steady.service_s or self.service_s
        rate = min(steady.arrived_per_s, steady.completed_per_s)
        self.held = max(1.0, rate * self.service_s)
        self.finished_per_s = max(self.finished_per_s, steady.finished_per_s)
        self.percentile = trial.percentile
        self.ttft_limit_s = trial.ttft_limit_s

    def queries(self, rate: float, tolerance: float) -> int:
        """Return how many queries a run at `rate` must have.

        Args:
            rate: in queries/s.
            tolerance: how closely the run must show whether the rate is sustained.

        Raises:
            NoRateError: the run would be longer than allowed.
        """
        if self.fixed:
            return self.floor
        needed = max(self.floor, self._by_time(rate), self._by_number(tolerance))
        if needed / rate > self.longest_s:
            self._refuse(rate, needed)
        return needed

    def rough_queries(self, rate: float) -> int | None:
        """Return how many queries a run has that only shows where to look.

        None: no run is worth it. If the rate were not sustained, its samples would
        take far longer to complete than a run may last.

        Raises:
            NoRateError: even such a run would be longer than allowed.
        """
        if self.fixed:
            return self.floor
        least = max(self.floor, self._by_time(rate))
        if least / rate > self.longest_s:
            self._refuse(rate, least)
        by_number = min(self._by_number(COARSE), math.ceil(self.longest_s * rate))
        needed = max(least, by_number)
        if self.finished_per_s and needed / self.finished_per_s > 2 * self.longest_s:
            return None
        return needed

    def _refuse(self, rate: float, needed: int) -> NoReturn:
        raise NoRateError(
            f"a run at {rate:.4g} queries/s would have to last {needed / rate:,.0f} s"
            f" ({needed:,} queries; service latency {self.service_s:.3g} s, percentile"
            f" {self.percentile:g}), longer than longest_s={self.longest_s:g}; write a"
            " larger longest_s=, a larger tolerance= or a lower"
            " run.latency_percentile="
        )

    def _by_time(self, rate: float) -> int:
        wait = min(self.ttft_limit_s, self.service_s)
        return math.ceil(_SPARE * rate * LATENCIES * (self.service_s + wait))

    def _by_number(self, tolerance: float) -> int:
        if not self.service_s:
            return 0
        luck = (_LUCK / tolerance) ** 2
        odds = self.percentile / (1 - self.percentile) if self.percentile < 1 else 1.0
        margin = odds * _MARGIN * (0.05 / tolerance) ** 2
        few = 1 + _FEW / self.held if tolerance < COARSE else 1.0
        return math.ceil(few * max(luck, margin))


@dataclass(slots=True, kw_only=True)
class Stage:
    """How far the rough or the close search has come."""

    name: Literal["rough", "close"] = "rough"
    step: float = 1 + COARSE
    """It ends at a sustained and a missed rate at most this factor apart."""
    good: float | None = None
    """Highest rate that seems sustained so far."""
    bad: float | None = None
    """Lowest rate that seems missed so far."""
    tried: int = 0
    """Rates that are decided."""
    runs: int = 0
    """Runs at the present rate that have ended."""

    @property
    def closed(self) -> bool:
        """Whether the rates on both sides are near enough."""
        if self.good is None or self.bad is None:
            return False
        # A step is multiplied and divided by itself: room for the last digit.
        return self.bad / self.good <= self.step * (1 + 1e-9)

    @property
    def rates_left(self) -> int:
        """Most rates still to try in this stage, the present one included."""
        left = _MOST_PROBES - self.tried
        if self.good is None or self.bad is None:
            return left
        span = math.log(self.bad / self.good) / math.log(self.step)
        return min(left, max(1, math.ceil(math.log2(span) - 1e-9)))

    @property
    def runs_left(self) -> int:
        """Most runs still to make in this stage; most rates need one alone."""
        return self.rates_left * _MOST_REPEATS - self.runs


@dataclass(slots=True, kw_only=True)
class Search:
    """The search of one size."""

    probe: Probe
    tolerance: float
    """How far the rate that is found may lie beside the true one, e.g. 0.05."""
    lengths: Lengths = field(default_factory=Lengths)
    queries: int = 0
    """Queries of each run of the close search, and so of the runs that confirm it."""
    stage: Stage = field(default_factory=Stage)
    """How far the search has come; progress lines show it."""

    @property
    def step(self) -> float:
        """Factor between neighboring rates of the close search."""
        return 1 + self.tolerance / STEPS_IN_TOLERANCE

    def highest(self, start: float) -> float:
        """Return the highest rate in queries/s that one run each sustained.

        Args:
            start: first rate.

        Raises:
            NoRateError: none was found.
        """
        rough = Stage(name="rough", step=1 + COARSE)
        good, bad = self._bracket(start, 1 + COARSE, rough, self._roughly)
        middle = (good * bad) ** 0.5
        stride = 1 + (middle / good - 1) / 2
        try:
            close = Stage(name="close", step=self.step)
            return self._bracket(middle, stride, close, self._closely)[0]
        except NoRateError as error:
            raise NoRateError(
                f"short runs sustained {good:.4g} queries/s and missed {bad:.4g};"
                f" {error}"
            ) from None

    def _bracket(
        self,
        start: float,
        stride: float,
        stage: Stage,
        sustains: Callable[[float], bool],
    ) -> tuple[float, float]:
        """Return a sustained and a missed rate, at most a factor `stage.step` apart.

        Goes up or down from `start`, by `stride` and then more, until one rate is
        sustained and one is not; then halves the span between them on a logarithmic
        scale.
        """
        self.stage = stage
        rate = start
        while stage.tried < _MOST_PROBES:
            stage.runs = 0
            if sustains(rate):
                stage.good = rate
            else:
                stage.bad = rate
            stage.tried += 1
            good, bad = stage.good, stage.bad
            if good is not None and bad is not None:
                if stage.closed:
                    return good, bad
                rate = (good * bad) ** 0.5
            else:
                # Far above what can be sustained, completions show where to look.
                done = self.lengths.finished_per_s or rate
                rate = min(rate / stride, done) if good is None else rate * stride
                stride = min(stride * stride, _LONGEST_STEP)
        good, bad = stage.good, stage.bad
        if good is None:
            raise NoRateError(f"no rate down to {rate:.3g} queries/s was sustained")
        raise NoRateError(
            f"every rate up to {good:.4g} queries/s was sustained in"
            f" {_MOST_PROBES} runs: start at a higher scenario.target_qps"
            if bad is None
            else f"{_MOST_PROBES} runs did not bring sustained and missed rates"
            " together"
        )

    def _roughly(self, rate: float) -> bool:
        """Return whether `rate` seems to be sustained; it does not count yet."""
        for _ in range(_MOST_REPEATS):
            queries = self.lengths.rough_queries(rate)
            if queries is None:
                return False
            trial = self._try(rate, queries)
            if not trial.too_short:
                break
            longer = self.lengths.rough_queries(rate)
            if longer is None:
                return False
            if longer <= queries:
                break
        return trial.within_limits and trial.steady.word != "growing"

    def _closely(self, rate: float) -> bool:
        # One number of queries for all rates: LoadGen draws arrivals by their number,
        # and another draw would be another experiment.
        for _ in range(_MOST_REPEATS):
            self.queries = max(self.queries, self.lengths.queries(rate, self.tolerance))
            trial = self._try(rate, self.queries)
            if not trial.too_short:
                return trial.sustained
        raise NoRateError(
            f"{_MOST_REPEATS} runs at {rate:.4g} queries/s were too short:"
            f" {trial.steady.reason}"
        )

    def _try(self, rate: float, queries: int) -> Trial:
        trial = self.probe(rate, queries)
        self.stage.runs += 1
        if trial.stop_reason:
            raise NoRateError(trial.stop_reason)
        self.lengths.learn(trial)
        if trial.too_few:
            self.lengths.floor = max(self.lengths.floor, 2 * queries)
        return trial
