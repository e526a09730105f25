"""Which policy hands out work best: simulated, and with real processes beside it.

    python -m benchmarks.balancing [--replicas 8 64] [--processes]

One of the replicas is 30% slower than the others. Offline: makespan against the ideal,
in which all replicas finish together at the speed that each has alone. Server and
Interactive: highest rate at which TTFT and TPOT p99 hold the scenario's limits, and
both at 95% of the best policy's rate. Prints Markdown tables.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from conf.clusters import BalancerName
from conf.schema import DatasetConfig
from forecast.simulation import Result, Simulation, TimedSynthetic
from qsl.dataset import load_dataset
from record.folder import RunFolder, read_lines
from record.structs import SampleRecord
from sut.balancers import make_balancer
from sut.wire.messages import EngineSpec

ROOT = Path(__file__).resolve().parents[1]
SLOW = 1.3
TOKENS = 128
LIMITS_S = {"Server": (2.0, 0.1), "Interactive": (0.5, 0.03)}
"""TTFT and TPOT that p99 must hold."""
OFFLINE_PER_REPLICA = 1_671  # 13,368 samples over 8 replicas
SAMPLES = 60_000
"""Samples of a Server run."""
# Service times near those of one H200 with fp8 weights: conf/engine/synthetic.yaml.
OPTIONS = {
    "step_s": 0.005,
    "prefill_s_per_token": 8.0e-6,
    "decode_s_per_sequence": 2.0e-5,
    "max_num_seqs": 1024,
    "max_num_batched_tokens": 8192,
    "output_tokens": TOKENS,
}


def simulation(
    slowdown: list[float],
    policy: BalancerName,
    streaming: bool,
    by_demand: bool = False,
) -> Simulation:
    """Return what is simulated."""
    dataset = load_dataset(DatasetConfig(name="synthetic", count=13_368))
    spec = EngineSpec(
        engine="synthetic",
        model_path="",
        dummy_weights=True,
        dtype="",
        max_model_len=8192,
        gpus=0,
        streaming=streaming,
        min_tokens=TOKENS,
        max_tokens=TOKENS,
        ignore_eos=True,
        stop_token_ids=[],
        seed=0,
        options=OPTIONS,
    )
    prompts = [dataset.prompt(index).tobytes() for index in range(len(dataset))]
    return Simulation(
        [TimedSynthetic(spec, factor, prompts) for factor in slowdown],
        make_balancer(policy, streaming),
        dataset.lengths.tolist(),
        [TOKENS] * len(dataset),
        by_demand=by_demand,
    )


def offline(
    slowdown: list[float], policy: BalancerName, share: int, by_demand: bool = True
) -> Result:
    """Simulate an Offline run of `share` samples per replica."""
    count = share * len(slowdown)
    indices = np.random.default_rng(0).permutation(count) % 13_368
    return simulation(slowdown, policy, False, by_demand).run(np.zeros(count), indices)


def ideal_s(slowdown: list[float], share: int) -> float:
    """Return the makespan if every replica kept the speed that it has alone."""
    alone = {
        factor: share / offline([factor], BalancerName.round_robin, share).makespan_s
        for factor in set(slowdown)
    }
    return share * len(slowdown) / sum(alone[factor] for factor in slowdown)


def server(
    slowdown: list[float], policy: BalancerName, rate: float, samples: int = SAMPLES
) -> Result:
    """Simulate a Server run at `rate` samples/s; the arrivals are Poisson's."""
    rng = np.random.default_rng(1)
    arrivals: NDArray[np.float64] = np.cumsum(rng.exponential(1 / rate, samples))
    indices = rng.integers(0, 13_368, samples)
    return simulation(slowdown, policy, True).run(arrivals, indices)


def highest_rate(
    slowdown: list[float], policy: BalancerName, limits_s: tuple[float, float]
) -> float:
    """Return the highest rate that meets the limits, to 0.5%."""
    low, high = 10.0 * len(slowdown), 110.0 * len(slowdown)
    while high / low > 1.005:
        rate = (low + high) / 2
        result = server(slowdown, policy, rate)
        held = result.ttft_s(99) <= limits_s[0]
        if held and result.tpot_s(99, TOKENS) <= limits_s[1]:
            low = rate
        else:
            high = rate
    return low


def simulated_offline(slowdown: list[float]) -> str:
    """Return a table of Offline by policy."""
    ideal = ideal_s(slowdown, OFFLINE_PER_REPLICA)
    count = OFFLINE_PER_REPLICA * len(slowdown)
    rows = [
        f"Offline, {count:,} samples, ideal {ideal:.2f} s:",
        "",
        "| policy | makespan, s | over the ideal | first to last replica's end, s |",
        "|---|---:|---:|---:|",
    ]
    cases = [(policy, True) for policy in BalancerName]
    for policy, by_demand in [*cases, (BalancerName.round_robin, False)]:
        result = offline(slowdown, policy, OFFLINE_PER_REPLICA, by_demand)
        spread = max(result.finished.values()) - min(result.finished.values())
        name = f"{policy.value}, on demand" if by_demand else "equal shares at once"
        rows.append(
            f"| {name} | {result.makespan_s:.2f} | {result.makespan_s / ideal - 1:+.1%}"
            f" | {spread:.2f} |"
        )
    return "\n".join(rows)


def simulated_server(slowdown: list[float], name: str) -> str:
    """Return a table of a streaming scenario by policy."""
    limits_s = LIMITS_S[name]
    console = Console(stderr=True)
    best = {
        policy: highest_rate(slowdown, policy, limits_s)
        for policy in track(list(BalancerName), name, console=console)
    }
    common = 0.95 * max(best.values())
    rows = [
        f"{name}, {SAMPLES:,} samples at each rate, p99 of TTFT <="
        f" {limits_s[0] * 1e3:.0f} ms and of TPOT <= {limits_s[1] * 1e3:.0f} ms:",
        "",
        f"| policy | highest samples/s | TTFT p99 at {common:.0f}/s, ms"
        " | TPOT p99 there, ms |",
        "|---|---:|---:|---:|",
    ]
    for policy, rate in best.items():
        result = server(slowdown, policy, common)
        rows.append(
            f"| {policy.value} | {rate:.0f} | {result.ttft_s(99) * 1e3:.0f}"
            f" | {result.tpot_s(99, TOKENS) * 1e3:.1f} |"
        )
    return "\n".join(rows)


def simulated(replicas: int) -> str:
    """Return the tables for so many replicas, one of them slow."""
    slowdown = [1.0] * replicas
    slowdown[2] = SLOW
    tables = [simulated_offline(slowdown)]
    tables += [simulated_server(slowdown, name) for name in LIMITS_S]
    head = f"### {replicas} replicas, number 2 {SLOW - 1:.0%} slower, simulated"
    return "\n\n".join([head, *tables])


def measured(replicas: int) -> str:
    """Return the Offline part of the table from runs with real processes."""
    slowdown = [1.0] * replicas
    slowdown[2] = SLOW
    ideal = ideal_s(slowdown, OFFLINE_PER_REPLICA)
    rows = [
        f"### {replicas} replicas as processes on {os.cpu_count()} cores, Offline",
        f"{OFFLINE_PER_REPLICA * replicas:,} samples, ideal {ideal:.2f} s.",
        "",
        "| policy | makespan, s | over the ideal |",
        "|---|---:|---:|",
    ]
    for name in track(
        ["least_outstanding_tokens", "round_robin"], console=Console(stderr=True)
    ):
        with tempfile.TemporaryDirectory() as work:
            command = [
                *(sys.executable, "-m", "sut.main", "experiment=harness"),
                *(f"cluster.replicas={replicas}", f"engine.slowdown.2={SLOW}"),
                *(f"cluster.balancer={name}", f"run.dir={work}", "run.live=plain"),
                f"run.min_queries={OFFLINE_PER_REPLICA * replicas}",
            ]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            folder = RunFolder(Path(work) / "latest")
            samples: list[SampleRecord] = list(read_lines(folder.samples, SampleRecord))
        span = max(s.completed_ns or 0 for s in samples) - samples[0].issued_ns
        rows.append(f"| {name} | {span / 1e9:.2f} | {span / 1e9 / ideal - 1:+.1%} |")
    return "\n".join(rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=[8, 64])
    parser.add_argument(
        "--processes", action="store_true", help="also run 8 real processes"
    )
    arguments = parser.parse_args()
    for replicas in arguments.replicas:
        print(simulated(replicas), flush=True)
    if arguments.processes:
        print(measured(8))


if __name__ == "__main__":
    main()
