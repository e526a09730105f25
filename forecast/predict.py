"""The forecast of one run: its figures with intervals, and the highest rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forecast.engine import ModelEngine
from forecast.evidence import Evidence, ReplicaEvidence, pooled
from forecast.highest_rate import RateSearch, speed_error
from forecast.limits import LimitState
from forecast.measures import measures
from forecast.step_time import StepTime, resampled, scaled
from forecast.target import (
    Target,
    make_engines,
    recorded_target,
    run_engines,
    samples_of,
    simulate,
    target_load,
)

REPLICATES = 16
"""Simulations with models of bootstrap samples, for the interval."""
_LEVEL = (0.05, 0.95)
_BEYOND = 1.05
"""How far a step may be above all recorded ones and still count as like them."""
_FEATURES = ("prefill tokens", "decoding sequences", "cached tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure, and the interval that holds it with 90%."""

    value: float
    low: float
    high: float


@dataclass(slots=True, kw_only=True)
class Forecast:
    """What a run would do."""

    figures: dict[str, Estimate]
    limits: list[LimitState]
    """Where the run is with each limit; empty: there are none."""
    highest_rate: Estimate | None
    """Queries/s that meet the limits; None: there are no limits, or no rate does, or
    (with `keeps_limits`) every rate does."""
    beyond: list[str]
    """How steps differ from all recorded ones: what is outside is extrapolated."""
    backtest: dict[str, tuple[float, float]]
    """Each figure of a recorded run, forecast and measured, where it fits worst."""

    @property
    def keeps_limits(self) -> bool | None:
        """Whether every limit is kept; None: there are none."""
        return all(one.load <= 1 for one in self.limits) if self.limits else None


def forecast(runs: Sequence[Evidence], target: Target) -> Forecast:
    """Return the forecast of `target` from recorded runs.

    The interval holds three things: the spread of simulations with models of bootstrap
    samples, of another speed and with noise of their own; the largest error that the
    same procedure makes for a recorded run itself; and what forecasts of held-out runs
    were off by beyond that (`widening`). The models and the noise come from all runs,
    the samples from the first.

    Args:
        runs: recorded, of one kind.
        target: the run to forecast.
    """
    evidence = pooled(runs)
    models = [replica.model for replica in evidence.replicas]
    speed = speed_error(runs, models)
    backtest: dict[str, tuple[float, float]] = {}
    for run in runs:
        for name, pair in _backtest(run, models).items():
            if name not in backtest or _error(pair) > _error(backtest[name]):
                backtest[name] = pair
    load = target_load(evidence, target)
    engines = make_engines(target, models, load, seed=0)
    samples = samples_of(run_engines(evidence, target, load, engines), target)
    point = measures(samples)
    draws = [
        measures(simulate(evidence, target, drawn, seed))
        for seed, drawn in _draws(evidence.replicas, speed)
    ]
    figures = {
        name: interval(
            name, value, [draw[name] for draw in draws], _error(backtest.get(name))
        )
        for name, value in point.items()
    }
    limited = target.server and target.limits.any
    return Forecast(
        figures=figures,
        limits=target.limits.judge(samples) if limited else [],
        highest_rate=_highest(evidence, target, speed) if limited else None,
        beyond=_beyond(engines, models),
        backtest=backtest,
    )


def _draws(
    replicas: Sequence[ReplicaEvidence], speed: float
) -> list[tuple[int, list[StepTime]]]:
    rng = np.random.default_rng(5)
    half = rng.normal(0, speed, REPLICATES // 2 + 1)
    # In pairs of opposite sign, so that few draws have no mean of their own.
    factors = np.exp(np.stack([half, -half], axis=1).ravel())
    return [
        (
            seed,
            [
                scaled(
                    resampled(
                        r.model,
                        r.steps,
                        r.kv_tokens,
                        r.kv_block,
                        seed,
                        r.graph_sizes,
                    ),
                    float(factors[seed]),
                )
                for r in replicas
            ],
        )
        for seed in range(1, REPLICATES + 1)
    ]


def _backtest(
    evidence: Evidence, models: Sequence[StepTime]
) -> dict[str, tuple[float, float]]:
    target = recorded_target(evidence)
    load = target_load(evidence, target)
    if target.server:
        # When LoadGen did issue: it may have been late.
        load = replace(load, arrivals=evidence.issued)
    engines = make_engines(target, models, load, seed=0)
    again = measures(samples_of(run_engines(evidence, target, load, engines), target))
    measured = measures(evidence.samples)
    return {name: (again[name], measured[name]) for name in measured if name in again}


def interval(
    name: str, value: float, draws: Sequence[float], backtest: float = 1.0
) -> Estimate:
    """Return a figure with its interval.

    Args:
        name: of the figure.
        value: of the figure.
        draws: what simulations of other models, speeds and noise gave.
        backtest: ratio by which the forecast of a recorded run itself was off, at
            least 1.
    """
    low, high = (float(np.quantile([value, *draws], share)) for share in _LEVEL)
    # One of seventeen values may well be the lowest or the highest.
    low, high = min(low, value), max(high, value)
    if low <= 0:
        return Estimate(value=value, low=low, high=high)
    more = math.hypot(math.log(backtest), widening(name))
    below, above = math.log(value / low), math.log(high / value)
    return Estimate(
        value=value,
        low=value * math.exp(-math.hypot(below, more)),
        high=value * math.exp(math.hypot(above, more)),
    )


_WIDENING = {
    "samples_per_s": 0.01,
    "tokens_per_s": 0.01,
    "ttft_ms_p50": 0.165,
    "ttft_ms_p90": 0.245,
    "ttft_ms_p99": 0.245,
    "tpot_ms_p50": 0.03,
    "tpot_ms_p90": 0.06,
    "tpot_ms_p99": 0.06,
}
"""90th percentile of the errors of 12 held-out forecasts of the synthetic engine, a
split-conformal bound: `benchmarks/2026-11_forecast.md`, checked on runs of vLLM."""
_WIDENING_OTHER = 0.08


def widening(name: str) -> float:
    """Return the error in the logarithm of a figure that forecasts have anyway."""
    return _WIDENING.get(name, _WIDENING_OTHER)


def _error(pair: tuple[float, float] | None) -> float:
    """Return the ratio of the larger to the smaller; 1 where one is no duration."""
    if pair is None or min(pair) <= 0:
        return 1.0
    return max(pair) / min(pair)


def _highest(evidence: Evidence, target: Target, speed: float) -> Estimate | None:
    search = RateSearch(
        evidence=evidence, target=target, queries_at=lambda _: target.queries
    )
    found = search.estimate(target.rate, speed)
    if found is None:
        return None
    # The schedule is LoadGen's own: what is uncertain is the model alone.
    factor = math.exp(1.645 * speed)
    return Estimate(
        value=found.run_rate,
        low=min(found.run_rate / factor, found.run_rate * found.low / found.rate),
        high=max(found.run_rate * factor, found.run_rate * found.high / found.rate),
    )


def _beyond(engines: Sequence[ModelEngine], models: Sequence[StepTime]) -> list[str]:
    found = []
    for place, name in enumerate(_FEATURES):
        most = max(engine.most[place] for engine in engines)
        recorded = max(float(model.most[place]) for model in models)
        if recorded and most > _BEYOND * recorded:
            found.append(f"{name}: up to {most:,.0f} a step, recorded {recorded:,.0f}")
    return found
