"""The forecast of one run: its figures with intervals, and the highest rate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conf.schema import BalancerName
from forecast.arrivals import Workload, workload
from forecast.engine import EngineShape, ModelEngine
from forecast.evidence import Evidence, ReplicaEvidence, pooled
from forecast.measures import Limits, measures
from forecast.simulation import Result, Simulation
from forecast.step_time import StepTime, resampled
from sut.balancers import make_balancer

REPLICATES = 16
"""Simulations with models of bootstrap samples, for the interval."""
_RATE_REPLICATES = 5
_LEVEL = (0.05, 0.95)
_TOLERANCE = 0.003
"""Of the highest rate."""
_AT_ONCE = 4096
_BEYOND = 1.05
"""How far a step may be above all recorded ones and still count as like them."""
_FEATURES = ("prefill tokens", "decoding sequences", "cached tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The run to forecast."""

    server: bool
    rate: float
    """Queries/s; of no use in Offline."""
    queries: int
    replicas: int
    balancer: BalancerName | None
    shape: EngineShape
    limits: Limits


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
    keeps_limits: bool | None
    """None: there are none."""
    highest_rate: Estimate | None
    """Queries/s that hold the limits; None: there are no limits, or no rate does, or
    (with `keeps_limits`) every rate does."""
    beyond: list[str]
    """How steps differ from all recorded ones: what is outside is extrapolated."""
    backtest: dict[str, tuple[float, float]]
    """Each figure of a recorded run, forecast and measured, where it fits worst."""


def forecast(runs: Sequence[Evidence], target: Target) -> Forecast:
    """Return the forecast of `target` from recorded runs.

    The interval holds two things: the spread of simulations with models of bootstrap
    samples and noise of their own, and the largest error that the same procedure makes
    for a recorded run itself, to either side. The models and the noise come from all
    runs, the samples from the first.

    Args:
        runs: recorded, of one kind.
        target: the run to forecast.
    """
    evidence = pooled(runs)
    models = [replica.model for replica in evidence.replicas]
    backtest: dict[str, tuple[float, float]] = {}
    for run in runs:
        for name, pair in _backtest(run, models).items():
            if name not in backtest or _error(pair) > _error(backtest[name]):
                backtest[name] = pair
    load = _workload(evidence, target)
    engines = _engines(target, models, load, seed=0)
    result = _run(evidence, target, load, engines)
    point = _measured(result, target)
    draws = [
        _measured(
            _run(evidence, target, load, _engines(target, drawn, load, seed)), target
        )
        for seed, drawn in _draws(evidence.replicas, REPLICATES)
    ]
    highest = _highest(evidence, target, models, backtest)
    keeps = None
    if target.server and target.limits.any:
        keeps = not _misses(result, target.limits)
    return Forecast(
        figures={
            name: _estimate(value, [draw[name] for draw in draws], backtest.get(name))
            for name, value in point.items()
        },
        keeps_limits=keeps,
        highest_rate=highest,
        beyond=_beyond(engines, models),
        backtest=backtest,
    )


def simulate(evidence: Evidence, target: Target) -> Result:
    """Return one simulated run of `target`, by the models of the recorded one."""
    load = _workload(evidence, target)
    models = [replica.model for replica in evidence.replicas]
    return _run(evidence, target, load, _engines(target, models, load, seed=0))


def recorded_target(evidence: Evidence) -> Target:
    """Return the recorded run itself as a target."""
    engine = evidence.replicas[0].record.engine
    first = evidence.replicas[0]

    def whole(name: str, default: int) -> int:
        value = engine.get(name)
        return value if isinstance(value, int) and value > 0 else default

    kv_tokens = first.kv_tokens
    return Target(
        server=evidence.settings.loadgen_scenario == "Server",
        rate=evidence.setting("server_target_qps", 1.0),
        queries=len(evidence.issued),
        replicas=len(evidence.replicas),
        balancer=None,
        shape=EngineShape(
            max_num_seqs=whole("max_num_seqs", 1024),
            max_num_batched_tokens=whole("max_num_batched_tokens", 8192),
            kv_blocks=kv_tokens // first.kv_block if kv_tokens else None,
            kv_block_size=first.kv_block,
            asynchronous=engine.get("async_scheduling") is True,
            streaming=evidence.streaming,
        ),
        limits=evidence.limits,
    )


def _workload(evidence: Evidence, target: Target) -> Workload:
    seed = evidence.schedule_seed
    return workload(evidence, target.server, target.rate, target.queries, seed)


def _engines(
    target: Target, models: Sequence[StepTime], load: Workload, seed: int
) -> list[ModelEngine]:
    rng = np.random.default_rng(seed)
    return [
        ModelEngine(
            target.shape,
            model,
            load.outputs,
            model.noise(np.random.default_rng(number)),
        )
        for number, model in zip(
            rng.integers(0, 2**32, target.replicas),
            (models[n % len(models)] for n in range(target.replicas)),
            strict=True,
        )
    ]


def _run(
    evidence: Evidence, target: Target, load: Workload, engines: Sequence[ModelEngine]
) -> Result:
    streaming = target.shape.streaming
    simulation = Simulation(
        engines,
        make_balancer(target.balancer, streaming),
        load.lengths,
        by_demand=not streaming,
        network_s=_drawn(evidence.ways_s),
        issue_s=evidence.issue_s,
    )
    return simulation.run(load.arrivals, load.indices)


def _drawn(values: NDArray[np.float64]) -> Iterator[float]:
    """Yield values at random, by the thousand."""
    rng = np.random.default_rng(0)
    while True:
        yield from rng.choice(values, _AT_ONCE).tolist()


def _measured(result: Result, target: Target) -> Mapping[str, float]:
    first = result.first if target.shape.streaming else None
    return measures(result.issued, first, result.completed, result.tokens.astype(float))


def _misses(result: Result, limits: Limits) -> bool:
    return limits.broken(
        result.issued, result.first, result.completed, result.tokens.astype(float)
    )


def _draws(
    replicas: Sequence[ReplicaEvidence], count: int
) -> list[tuple[int, list[StepTime]]]:
    return [
        (
            seed,
            [
                resampled(r.model, r.steps, r.kv_tokens, r.kv_block, seed)
                for r in replicas
            ],
        )
        for seed in range(1, count + 1)
    ]


def _backtest(
    evidence: Evidence, models: Sequence[StepTime]
) -> dict[str, tuple[float, float]]:
    target = recorded_target(evidence)
    load = _workload(evidence, target)
    if target.server:
        # When LoadGen did issue: it may have been late.
        load = replace(load, arrivals=evidence.issued)
    again = _measured(
        _run(evidence, target, load, _engines(target, models, load, seed=0)), target
    )
    measured = measures(evidence.issued, evidence.first, evidence.done, evidence.tokens)
    return {name: (again[name], measured[name]) for name in measured if name in again}


def _estimate(
    value: float, draws: Sequence[float], checked: tuple[float, float] | None
) -> Estimate:
    low, high = (float(np.quantile([value, *draws], share)) for share in _LEVEL)
    error = 1.0 if checked is None else _error(checked)
    return Estimate(value=value, low=low / error, high=high * error)


def _error(pair: tuple[float, float]) -> float:
    """Return the ratio of the larger to the smaller; 1 where one is no duration."""
    return max(pair) / min(pair) if min(pair) > 0 else 1.0


def _highest(
    evidence: Evidence,
    target: Target,
    models: Sequence[StepTime],
    backtest: Mapping[str, tuple[float, float]],
) -> Estimate | None:
    limits = target.limits
    if not target.server or not limits.any:
        return None
    value = _highest_rate(evidence, target, models, seed=0)
    if value is None:
        return None
    found = [
        _highest_rate(evidence, target, drawn, seed, near=value)
        for seed, drawn in _draws(evidence.replicas, _RATE_REPLICATES)
    ]
    rates = [rate for rate in found if rate is not None]
    # What the forecast of the recorded run was wrong by, as a rate: by its TPOT, which
    # follows the load, and no tail of a queue, which multiplies errors.
    return _estimate(value, rates, backtest.get("tpot_ms_p50"))


def _highest_rate(
    evidence: Evidence,
    target: Target,
    models: Sequence[StepTime],
    seed: int,
    near: float | None = None,
) -> float | None:
    """Return the highest rate that holds the limits, by bisection.

    None: none does, or every one.
    """

    def holds(rate: float) -> bool:
        tried = replace(target, rate=rate)
        load = _workload(evidence, tried)
        engines = _engines(tried, models, load, seed)
        return not _misses(_run(evidence, tried, load, engines), target.limits)

    low = high = near or target.rate
    while holds(high):
        low, high = high, high * (1.1 if near else 1.5)
        if high > 1000 * target.rate:
            return None
    if low == high:
        while not holds(low):
            low, high = low / (1.1 if near else 1.5), low
            if low < target.rate / 1000:
                return None
    while high / low > 1 + _TOLERANCE:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _beyond(engines: Sequence[ModelEngine], models: Sequence[StepTime]) -> list[str]:
    found = []
    for place, name in enumerate(_FEATURES):
        most = max(engine.most[place] for engine in engines)
        recorded = max(float(model.most[place]) for model in models)
        if recorded and most > _BEYOND * recorded:
            found.append(f"{name}: up to {most:,.0f} a step, recorded {recorded:,.0f}")
    return found
