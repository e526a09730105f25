"""The run to forecast, and one simulation of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conf.clusters import BalancerName
from forecast.adaptive import AdaptiveModelEngine, as_step_model
from forecast.arrivals import Workload, workload
from forecast.engine import EngineShape, ModelEngine
from forecast.evidence import Evidence
from forecast.limits import Limits, Samples
from forecast.simulation import Result, Simulation
from forecast.step_time import StepTime
from sut.balancers import make_balancer
from sut.engines.prefill_budget import PrefillBudget

Noise = Iterator[tuple[float, float]]
"""Factor on the duration of each step, and seconds more."""

_AT_ONCE = 4096


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
    max_output_tokens: int
    """Most tokens of an answer, by which adaptive batching plans."""
    adaptive: bool = False
    """Whether each step's tokens are chosen by the limit of TPOT."""


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
            graph_sizes=first.graph_sizes,
        ),
        limits=evidence.limits,
        max_output_tokens=evidence.settings.max_output_tokens,
        adaptive="step_model" in engine,
    )


def target_load(
    evidence: Evidence, target: Target, seed: int | None = None
) -> Workload:
    """Return what LoadGen issues in `target`.

    Args:
        evidence: the recorded run.
        target: the run to forecast.
        seed: of LoadGen's schedule; None: that of the recorded run.
    """
    own = evidence.schedule_seed if seed is None else seed
    return workload(evidence, target.server, target.rate, target.queries, own)


def make_engines(
    target: Target, models: Sequence[StepTime], load: Workload, seed: int
) -> list[ModelEngine]:
    """Return an engine for each replica; `seed` is of their noise."""
    rng = np.random.default_rng(seed)
    return [
        _engine(target, model, load, model.noise(np.random.default_rng(number)))
        for number, model in zip(
            rng.integers(0, 2**32, target.replicas),
            (models[n % len(models)] for n in range(target.replicas)),
            strict=True,
        )
    ]


def _engine(
    target: Target, model: StepTime, load: Workload, noise: Noise
) -> ModelEngine:
    shape, tpot_s = target.shape, target.limits.tpot_s
    if not target.adaptive or tpot_s is None:
        return ModelEngine(shape, model, load.outputs, noise)
    prompts = np.array(load.lengths)[load.indices]
    # The engine's own model is measured in its warm-up: as good as the fitted one.
    known = as_step_model(model, float(prompts.mean()))
    most = shape.max_num_batched_tokens
    answer = target.max_output_tokens
    budget = PrefillBudget(known, tpot_s, answer, most, shape.graph_sizes)
    return AdaptiveModelEngine(shape, model, load.outputs, noise, budget)


def run_engines(
    evidence: Evidence, target: Target, load: Workload, engines: Sequence[ModelEngine]
) -> Result:
    """Return one simulated run."""
    streaming = target.shape.streaming
    simulation = Simulation(
        engines,
        make_balancer(target.balancer, streaming),
        load.lengths,
        load.answer_limits,
        by_demand=not streaming,
        network_s=_drawn(evidence.ways_s),
        issue_s=evidence.issue_s,
    )
    return simulation.run(load.arrivals, load.indices)


def simulate(
    evidence: Evidence,
    target: Target,
    models: Sequence[StepTime] | None = None,
    seed: int = 0,
    schedule_seed: int | None = None,
) -> Samples:
    """Return the samples of one simulated run of `target`.

    Args:
        evidence: the recorded run.
        target: the run to simulate.
        models: one for each recorded replica; None: those of `evidence`.
        seed: of the noise.
        schedule_seed: of LoadGen's schedule; None: that of the recorded run.
    """
    load = target_load(evidence, target, schedule_seed)
    own = models or [replica.model for replica in evidence.replicas]
    engines = make_engines(target, own, load, seed)
    return samples_of(run_engines(evidence, target, load, engines), target)


def samples_of(result: Result, target: Target) -> Samples:
    """Return what limits and figures are computed from."""
    return Samples(
        issued=result.issued,
        first=result.first if target.shape.streaming else None,
        done=result.completed,
        tokens=result.tokens.astype(float),
    )


def _drawn(values: NDArray[np.float64]) -> Iterator[float]:
    """Yield values at random, by the thousand."""
    rng = np.random.default_rng(0)
    while True:
        yield from rng.choice(values, _AT_ONCE).tolist()
