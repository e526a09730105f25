"""Adaptive batching against fixed token budgets, in simulated time.

    python -m benchmarks.adaptive_batching [STEPS] [--seconds 150] [--seeds 1 2 3]
        [--graphs] [--blind]

For Server and Interactive: the highest rate at which the 99th percentiles of TTFT and
TPOT meet MLPerf's limits, by budget and seed of arrivals, noise and lengths. Step time
and noise are those of STEPS, the steps.bin of a run with one replica and KV blocks of
16 tokens; without it those of two made-up engines. --graphs: the engine has the CUDA
graphs of `experiment=hopper_interactive`, as STEPS had, and one of each fixed budget;
--blind: adaptive batching does not know them. Prints Markdown tables.
"""

import argparse
import itertools
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conf.clusters import BalancerName
from conf.schema import DatasetConfig
from forecast.adaptive import AdaptiveModelEngine, as_step_model
from forecast.engine import EngineShape, ModelEngine
from forecast.limits import Limits, Samples
from forecast.simulation import Simulation
from forecast.step_time import StepTime, fit_step_time
from qsl.dataset import load_dataset
from record.steps import read_steps
from sut.balancers import make_balancer
from sut.engines.prefill_budget import PrefillBudget

TOKENS = 128
LIMITS = {
    "Server": Limits(ttft_s=2.0, tpot_s=0.1, percentile=0.99),
    "Interactive": Limits(ttft_s=0.5, tpot_s=0.03, percentile=0.99),
}
BUDGETS = {
    "Server": (4096, 5120, 6144, 7168, 8192),
    "Interactive": (1024, 1280, 1536, 1792, 2048),
}
MOST = {"Server": 16_384, "Interactive": 8192}
"""Tokens that an adaptive step may have."""
GRAPHS = (
    *(1, 2, 4, 8),
    *range(16, 257, 16),
    *range(288, 513, 32),
    *range(576, 1025, 64),
    *(1280, 1536),
)
"""Sizes in `experiment=hopper_interactive` (a few more of the small ones)."""
SEQUENCES = {"Server": 768, "Interactive": 512}
MADE_UP = {
    "GPU-bound": (0.003, 13e-6, 11.2e-6, 0.0, 23.5e-9),
    "slow host": (0.008, 11e-6, 11.2e-6, 0.0, 23.5e-9),
}
"""Seconds of a step, a prefill token, a decoding sequence, a prompt, a cached token.
The first is near an H100 with fp8 weights (27 ms for 1,536 tokens with 200 decoding);
in the second, launching a step takes the host longer."""
_TOLERANCE = 0.004
_KV_BLOCK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One search for the highest rate."""

    engine: str
    scenario: str
    budget: int | None
    """None: adaptive."""
    seed: int
    seconds: float
    steps: Path | None
    graphs: bool
    blind: bool


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--graphs", action="store_true")
    parser.add_argument("--blind", action="store_true")
    parser.add_argument("--scenario", choices=list(LIMITS), nargs="+")
    options = parser.parse_args()
    engines = [str(options.steps)] if options.steps else list(MADE_UP)
    for engine, scenario in itertools.product(engines, options.scenario or LIMITS):
        budgets = [*BUDGETS[scenario], None]
        cases = [
            Case(
                engine=engine,
                scenario=scenario,
                budget=budget,
                seed=seed,
                seconds=options.seconds,
                steps=options.steps,
                graphs=options.graphs,
                blind=options.blind,
            )
            for budget, seed in itertools.product(budgets, options.seeds)
        ]
        with multiprocessing.Pool() as pool:
            rates = np.array(pool.map(highest_rate, cases, chunksize=1))
        _print(engine, scenario, budgets, rates.reshape(len(budgets), -1))


def _print(
    engine: str, scenario: str, budgets: list[int | None], rates: NDArray[np.float64]
) -> None:
    seeds = rates.shape[1]
    print(f"\n{engine}, {scenario}: highest rate, queries/s\n")
    print("| tokens of a step |" + " seed |" * seeds + " mean |")
    print("|---|" + "---:|" * (seeds + 1))
    for budget, row in zip(budgets, rates, strict=True):
        name = "adaptive" if budget is None else f"{budget:,}"
        cells = " | ".join(f"{rate:.1f}" for rate in [*row, row.mean()])
        print(f"| {name} | {cells} |")
    fixed, adaptive = rates[:-1], rates[-1]
    best = fixed[fixed.mean(axis=1).argmax()]
    gains = 100 * (adaptive / best - 1)
    shown = ", ".join(f"{gain:+.1f}%" for gain in gains)
    print(f"\nAdaptive over the best fixed budget, by seed: {shown}", flush=True)


def highest_rate(case: Case) -> float:
    """Return the highest rate that meets the limits, in queries/s."""
    model = _model(case)
    low, high = 20.0, 45.0
    while _holds(case, model, high):
        low, high = high, 1.4 * high
    while high / low > 1 + _TOLERANCE:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _holds(case, model, middle) else (low, middle)
    return low


def _model(case: Case) -> StepTime:
    if case.steps is not None:
        steps = np.array(read_steps(case.steps))
        # The cache was empty at some time.
        tokens = int(steps["kv_blocks_free"].max()) * _KV_BLOCK
        return fit_step_time(steps, tokens, _KV_BLOCK, GRAPHS if case.graphs else ())
    count, rng = 20_000, np.random.default_rng(0)
    # A slow drift of 3%, and a pause of 50 ms in every 2,000 steps.
    drift = np.zeros(count)
    for number, shock in enumerate(rng.standard_normal(count - 1), 1):
        drift[number] = 0.98 * drift[number - 1] + 0.2 * shock
    return StepTime(
        coefficients=np.array(MADE_UP[case.engine]),
        overhead_s=0.0,
        factors=1 + 0.03 * drift,
        extra_s=np.where(rng.random(count) < 1 / 2000, 0.05, 0.0),
        most=np.zeros(3),
    )


def _holds(case: Case, model: StepTime, rate: float) -> bool:
    limits = LIMITS[case.scenario]
    rng = np.random.default_rng(case.seed)
    lengths = load_dataset(DatasetConfig(name="synthetic", count=5000)).lengths
    count = round(rate * case.seconds)
    arrivals = np.cumsum(rng.exponential(1.0, round(200 * case.seconds)))[:count] / rate
    rows = rng.integers(0, len(lengths), round(200 * case.seconds))[:count]
    sizes = tuple(sorted({*GRAPHS, *BUDGETS[case.scenario]})) if case.graphs else ()
    shape = EngineShape(
        max_num_seqs=SEQUENCES[case.scenario],
        max_num_batched_tokens=case.budget or MOST[case.scenario],
        kv_blocks=None,
        kv_block_size=16,
        asynchronous=True,
        streaming=True,
        graph_sizes=sizes,
    )
    engine = _engine(case, shape, model, len(lengths), float(lengths.mean()))
    simulation = Simulation(
        [engine],
        make_balancer(BalancerName.round_robin, streaming=True),
        lengths.tolist(),
        [TOKENS] * len(lengths),
        by_demand=False,
    )
    result = simulation.run(arrivals, rows)
    return not limits.broken(
        Samples(
            issued=result.issued,
            first=result.first,
            done=result.completed,
            tokens=result.tokens.astype(float),
        )
    )


def _engine(
    case: Case, shape: EngineShape, model: StepTime, rows: int, prompt: float
) -> ModelEngine:
    outputs = [TOKENS] * rows
    noise: Iterator[tuple[float, float]] = model.noise(np.random.default_rng(case.seed))
    if case.budget is not None:
        return ModelEngine(shape, model, outputs, noise)
    tpot_s = LIMITS[case.scenario].tpot_s
    assert tpot_s is not None
    known = as_step_model(model, prompt)
    sizes = () if case.blind else shape.graph_sizes
    most = shape.max_num_batched_tokens
    budget = PrefillBudget(known, tpot_s, TOKENS, most, sizes)
    return AdaptiveModelEngine(shape, model, outputs, noise, budget)


if __name__ == "__main__":
    main()
