"""Finds the highest rate that holds the limits in three runs at most.

1. **Probe**: all queries at once, so that the engine takes steps of every size. It says
   nothing about a rate; the step-time model is fitted from its steps.
2. **Forecast**: the fastest run of the stated length that holds every limit
   (`forecast.highest_rate`), with LoadGen's own arrivals.
3. **Confirmation**: a run of full length just below that rate. If it meets the limits
   and the forecast from its own steps sees no more than `TOLERANCE` above it, the
   search is done. Else a second one: higher, or lower after a miss. What the first run
   measured corrects the forecast of the second.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from base.errors import NotGood
from base.log import logger
from campaigns.search.run import SearchRun, fewest_for
from forecast.evidence import Evidence, pooled
from forecast.highest_rate import STEADY, RateEstimate, RateSearch, speed_error
from forecast.limits import Limits, LimitState, good_samples
from forecast.target import recorded_target, simulate
from record.campaign import LimitResult, SearchResult
from scenarios.steady_state import FEWEST_LATENCIES, judge_times

_LOG = logger(__name__)

RUNS = 3
"""Runs of a search at most, the probe included."""
TOLERANCE = 0.03
"""A confirmed rate this near to the forecast one is not tried to be raised."""
_MOST_SHIFT = 0.03
"""What a measured run may shift the next forecast rate by, beyond its own steps."""
_CAUTION = (0.01, 0.02)
"""How far below the forecast rate the first and the second confirmation are."""
_LATENCIES = 1.2 * FEWEST_LATENCIES
_SHORTEST_S = 60.0


class RunMaker(Protocol):
    """Makes the runs."""

    def probe(self) -> SearchRun:
        """Make the run that the model is fitted from."""

    def confirm(self, rate: float, queries: int) -> SearchRun:
        """Make a run at `rate` in queries/s with so many queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLength:
    """How long a confirmation is."""

    queries: int | None = None
    """Number of queries; None: by `seconds`, or as long as the limits need."""
    seconds: float | None = None
    """Of arrivals."""
    by_rules: Callable[[float], int] | None = None
    """Queries at a rate where the benchmark's rules fix them (run=full)."""

    @property
    def stated(self) -> bool:
        """Whether the user or the rules state it."""
        return any((self.queries, self.seconds, self.by_rules))

    def at(self, rate: float) -> int:
        """Return the queries of a run at `rate` queries/s."""
        if self.by_rules is not None:
            return self.by_rules(rate)
        if self.queries is not None:
            return self.queries
        return max(1, math.ceil(rate * (self.seconds or _SHORTEST_S)))


@dataclass(slots=True, kw_only=True)
class ForecastSearch:
    """One search."""

    make: RunMaker
    limits: Limits | None
    """Of the user's own; None: those that the runs have."""
    length: RunLength
    result: SearchResult = field(default_factory=SearchResult)
    runs: list[SearchRun] = field(default_factory=list)
    _offset: float = 0.0
    _near: float = 0.0
    _slope: float = 1.0

    def find(self) -> SearchResult:
        """Return what was found.

        Raises:
            NotGood: no rate was confirmed; `result` has what is known.
        """
        probe = self._made(self.make.probe())
        if probe.problem or probe.evidence is None:
            raise NotGood(probe.problem or "the probe recorded too few steps")
        best: SearchRun | None = None
        evidence = [probe.evidence]
        self._near = len(probe.evidence.done) / float(probe.evidence.done.max())
        estimate = self._estimate(evidence)
        for caution in _CAUTION[: RUNS - 1]:
            rate = self._wanted(estimate) * (1 - caution)
            self._refuse_too_short(rate)
            if best is not None and rate < best.rate * (1 + TOLERANCE - caution):
                break
            tried = self._made(self.make.confirm(rate, self.length.at(rate)))
            if tried.problem:
                raise NotGood(tried.problem)
            if tried.holds:
                best = tried
                self._confirmed(tried)
            if tried.evidence is not None:
                evidence = self._learn(tried, probe.evidence)
                estimate = self._estimate(evidence)
        if best is None:
            raise NotGood(
                f"no rate was confirmed in {len(self.runs)} runs: the last one, at"
                f" {self.runs[-1].rate:.4g} queries/s, does not count"
                f" ({self.runs[-1].reason}); the forecast is"
                f" {self._wanted(estimate):.4g}"
            )
        return self.result

    def _wanted(self, estimate: RateEstimate) -> float:
        """Return the `scenario.target_qps` to confirm.

        A run of the benchmark's length counts as it is. A shorter one must not owe its
        result to an empty start or to a lucky schedule.
        """
        if self.length.by_rules is not None:
            return estimate.run_rate
        lasting = estimate.rate * estimate.run_rate / estimate.arrived
        return min(estimate.run_rate, lasting)

    def _made(self, run: SearchRun) -> SearchRun:
        self.runs.append(run)
        if run.valid and len(self.runs) > 1:
            arrived = run.steady.rate_per_s
            self.result.valid_qps = max(self.result.valid_qps or 0.0, arrived)
        return run

    def _estimate(self, runs: Sequence[Evidence]) -> RateEstimate:
        evidence = pooled(runs)
        models = [replica.model for replica in evidence.replicas]
        target = recorded_target(evidence)
        limits = self.limits or replace(target.limits, early_stopping=False)
        target = replace(target, server=True, limits=limits)
        self._state_length(evidence, target.limits)
        search = RateSearch(
            evidence=evidence,
            target=target,
            queries_at=self.length.at,
            offset=self._offset,
        )
        found = search.estimate(self._near, speed_error(runs, models))
        if found is None:
            states = search.states(self._near)
            missed = [s for s in states if s.load > 1]
            raise NotGood(
                f"no rate keeps {missed[0].name} at {missed[0].limit:,.4g}"
                f" {missed[0].unit}, by the probe's steps"
                if missed
                else "with so few queries every rate meets the limits; write a larger"
                " length_s= or queries="
            )
        self._near, self._slope = found.run_rate, found.slope
        self.result.estimate_qps = found.rate
        self.result.low_qps, self.result.high_qps = found.low, found.high
        _LOG.info(
            "forecast: %.4g queries/s (95%% interval %.4g to %.4g)",
            found.rate,
            found.low,
            found.high,
        )
        return found

    def _state_length(self, evidence: Evidence, limits: Limits) -> None:
        """State how long confirmations are, where nobody did."""
        if self.length.stated:
            return
        service = _service_s(evidence)
        seconds = max(
            _SHORTEST_S,
            _LATENCIES * service,
            fewest_for(limits) / max(self._near, 1e-9),
        )
        self.length = RunLength(seconds=math.ceil(seconds))
        _LOG.info("each confirmation: %d s of arrivals", seconds)

    def _refuse_too_short(self, rate: float) -> None:
        """Refuse a stated length that is not expected to show a steady state.

        Raises:
            NotGood: it is too short.
        """
        evidence = self.runs[-1].evidence
        if self.length.by_rules is not None or evidence is None:
            return
        queries = self.length.at(rate)
        target = replace(
            recorded_target(evidence), server=True, rate=rate, queries=queries
        )
        samples = simulate(evidence, target)
        first = np.full(queries, np.nan) if samples.first is None else samples.first
        judged = judge_times(samples.issued, first, samples.done)
        if judged.word == "too_short":
            seconds = math.ceil(_LATENCIES * judged.service_s)
            raise NotGood(
                f"runs of {queries:,} queries would be too short at {rate:.4g}"
                f" queries/s: a steady state shows in {seconds} s; write"
                f" length_s={seconds} or leave the length out"
            )

    def _learn(self, run: SearchRun, probe: Evidence) -> list[Evidence]:
        """Return what the next forecast is made from, and correct it."""
        assert run.evidence is not None
        if run.stopped:
            return [run.evidence, probe]
        target = replace(
            recorded_target(run.evidence),
            server=True,
            queries=run.queries,
            limits=self.limits or replace(run.evidence.limits, early_stopping=False),
        )
        again = target.limits.judge(simulate(run.evidence, target))
        most = _MOST_SHIFT * self._slope
        self._offset = min(most, max(-most, _offset(run.states, again)))
        return [run.evidence]

    def _confirmed(self, run: SearchRun) -> None:
        result = self.result
        result.target_qps, result.queries = run.rate, run.queries
        if run.kept and run.steady.word == "steady":
            result.sustained_qps = run.steady.rate_per_s
        else:
            result.notes.append(f"LoadGen calls the run VALID. {run.steady.reason}")
        result.limits = [
            LimitResult(
                name=s.name,
                value=s.value,
                limit=s.limit,
                unit=s.unit,
                headroom=s.headroom,
            )
            for s in run.states
        ]
        if run.states:
            result.limiting = max(run.states, key=lambda s: s.load).name
        result.goodput_qps = _goodput(run, self.limits)


def _offset(measured: Sequence[LimitState], simulated: Sequence[LimitState]) -> float:
    """Return the logarithm of measured over simulated load of the tightest limit."""
    pairs = [
        (one.load, other.load)
        for one in measured
        for other in simulated
        if one.name == other.name != STEADY and one.load > 0 and other.load > 0
    ]
    if not pairs:
        return 0.0
    one, other = max(pairs)
    # Half of it: what one run differs by is in part its own noise.
    return math.log(one / other) / 2


def _service_s(evidence: Evidence) -> float:
    samples = evidence.samples
    if samples.first is None:
        return float((samples.done - samples.issued).min())
    return judge_times(samples.issued, samples.first, samples.done).service_s


def _goodput(run: SearchRun, limits: Limits | None) -> float | None:
    """Return completed queries/s that kept every limit."""
    if run.evidence is None:
        return None
    own = limits or run.evidence.limits
    single = tuple((limit.metric, limit.seconds) for limit in own.percentiles)
    if own.goodput is not None:
        single += own.goodput.limits
    samples = run.evidence.samples
    seconds = float(samples.done.max() - samples.issued.min())
    return float(good_samples(samples, single).sum()) / seconds if seconds else None
