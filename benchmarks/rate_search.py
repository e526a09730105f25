"""How close a campaign comes to the highest rate that a system sustains.

    python -m benchmarks.rate_search [--engines 20] [--real 3]

Random synthetic engines and latency limits, drawn from fixed seeds. The true rate comes
from long simulations: bisection on the limits alone over 50,000 queries, the first 5%
left out, arrivals scaled to exactly the rate. Beside it stands what
`campaigns.scaling` finds for the same engine, which knows nothing of this: its own
search and confirmation in simulated time, or with --real the command itself with
`engine=synthetic`. Prints a Markdown table; exits 1 where a rate is beside the true one
by more than the tolerance.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from base.benchmark import EARLY_STOPPING_CONFIDENCE
from base.child import Children
from campaigns.outcome import Trial
from campaigns.scaling.options import CampaignOptions
from campaigns.scaling.sustained_rates import find_rates
from campaigns.series import FinishedRun, RunSeries
from conf.load import load_config
from record.campaign import Campaign, CampaignRun, CampaignSize, Phase, read_campaign
from scenarios.steady_state import judge_times

ROOT = Path(__file__).resolve().parents[1]
TOLERANCE = 0.05
_LONG = 50_000

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A synthetic engine (`sut.engines.synthetic`) and the limits that it must keep."""

    step_s: float
    prefill_s: float
    """Per prompt token."""
    decode_s: float
    """Per running sequence."""
    max_seqs: int
    budget: int = 8192
    tokens: int = 128
    prompt: int = 800
    ttft_s: float
    tpot_s: float
    percentile: float = 0.9

    @property
    def capacity(self) -> float:
        """Samples/s with all sequences running."""
        step = self.step_s + self.decode_s * self.max_seqs
        prefill = self.max_seqs * self.prompt * self.prefill_s
        return self.max_seqs / (self.tokens * step + prefill)


def random_engine(seed: int) -> Engine:
    """Return an engine of 4 to 256 sequences and steps of 2 to 50 ms."""
    rng = np.random.default_rng(seed)
    seqs = int(2 ** rng.uniform(2, 8))
    step = 10 ** rng.uniform(-2.7, -1.3)
    decode = step * 10 ** rng.uniform(-2.5, -0.5) / seqs**0.5
    prefill = step * 10 ** rng.uniform(-4.5, -3)
    full, one = step + decode * seqs, step + decode
    percentile = float(rng.choice([0.9, 0.9, 0.9, 0.99]))
    loose, tight = full * 1.5, one + (full - one) * rng.uniform(0.4, 0.9)
    tpot = max(float(rng.choice([loose, tight])), 1.1 * one)
    ttft = max(4 * (full + prefill * 800), 10 ** rng.uniform(-0.7, 0.5) * full * 30)
    return Engine(
        step_s=step,
        prefill_s=prefill,
        decode_s=decode,
        max_seqs=seqs,
        ttft_s=float(ttft),
        tpot_s=tpot,
        percentile=percentile,
    )


def fast_engine(seed: int) -> Engine:
    """Return an engine of some hundred samples/s: real runs of it take a minute."""
    rng = np.random.default_rng(seed)
    step, seqs = rng.uniform(0.02, 0.03), int(rng.integers(64, 128))
    full = step + 1e-4 * seqs
    return Engine(
        step_s=step,
        prefill_s=0.0,
        decode_s=1e-4,
        max_seqs=seqs,
        tokens=16,
        prompt=100,
        ttft_s=float(full * rng.uniform(4, 12)),
        tpot_s=float(full * rng.uniform(1.2, 1.5)),
    )


def simulate(engine: Engine, issued: Array) -> tuple[Array, Array]:
    """Return the times of first tokens and completions, by the engine's own rules.

    Args:
        engine: steps as `SyntheticEngine.begin_step` has them.
        issued: when samples arrive in s, ascending, shape (samples,).
    """
    count = len(issued)
    first, done = np.zeros(count), np.zeros(count)
    arrivals = [*issued.tolist(), float("inf")]
    waiting: deque[int] = deque()
    ending: deque[tuple[int, list[int]]] = deque()
    now, place, running, steps, left = 0.0, 0, 0, 0, 0
    while True:
        while arrivals[place] <= now:
            waiting.append(place)
            place += 1
        if not waiting and not running:
            if place >= count:
                return first, done
            now = arrivals[place]
            continue
        if waiting and running < engine.max_seqs:
            begun: list[int] = []
            budget, taken = max(1, engine.budget - running), 0
            while budget and waiting and running < engine.max_seqs:
                left = left or engine.prompt
                chunk = min(budget, left)
                left, budget, taken = left - chunk, budget - chunk, taken + chunk
                if left:
                    break
                begun.append(waiting.popleft())
                running += 1
            steps += 1
            now += engine.step_s + engine.prefill_s * taken + engine.decode_s * running
            first[begun] = now
            if begun:
                ending.append((steps + engine.tokens - 1, begun))
        else:
            # Nothing can change before a sequence ends or a sample comes.
            step = engine.step_s + engine.decode_s * running
            jump = ending[0][0] - steps
            if not waiting and arrivals[place] < now + jump * step:
                jump = min(jump, int((arrivals[place] - now) / step) + 1)
            steps, now = steps + jump, now + jump * step
        while ending and ending[0][0] <= steps:
            ended = ending.popleft()[1]
            done[ended] = now
            running -= len(ended)


def true_rate(engine: Engine, seed: int = 1000) -> float:
    """Return the highest rate at which long simulations meet the limits."""
    gaps = np.random.default_rng(seed).exponential(1, _LONG)
    times = np.cumsum(gaps) - gaps[0]
    times *= (_LONG - 1) / times[-1]
    low, high = engine.capacity * 0.02, engine.capacity * 1.05
    while high / low > 1.004:
        rate = (low * high) ** 0.5
        first, done = simulate(engine, times / rate)
        skipped = slice(_LONG // 20, None)
        ttft = (first - times / rate)[skipped] > engine.ttft_s
        tpot = ((done - first) / (engine.tokens - 1))[skipped] > engine.tpot_s
        if max(ttft.mean(), tpot.mean()) <= 1 - engine.percentile:
            low = rate
        else:
            high = rate
    return low


@dataclass(slots=True, kw_only=True)
class SimulatedSeries(RunSeries):
    """Makes the runs of a campaign in simulated time."""

    engine: Engine
    seed: int
    """Of the arrivals; LoadGen too has one seed for all runs."""

    def run(
        self,
        size: int,
        phase: Phase,
        *,
        rate: float | None = None,
        queries: int | None = None,
        note: str = "",  # noqa: ARG002
        progress: str = "",  # noqa: ARG002
    ) -> FinishedRun:
        """Simulate one run as `sut.main` would make it."""
        assert rate is not None
        assert queries is not None
        gaps = np.random.default_rng(self.seed).exponential(1, queries)
        issued = (np.cumsum(gaps) - gaps[0]) / rate
        first, done = simulate(self.engine, issued)
        trial = Trial(
            within_limits=self._valid(issued, first, done),
            steady=judge_times(issued, first, done),
            percentile=self.engine.percentile,
            ttft_limit_s=self.engine.ttft_s,
        )
        record = CampaignRun(
            run=str(len(self.finished)),
            replicas=size,
            phase=phase,
            rate=rate,
            queries=queries,
            seconds=float(done.max()),
        )
        made = FinishedRun(record=record, folder=self.root, trial=trial)
        self.finished.append(made)
        return made

    def save(self) -> None:
        """Write nothing: there is no folder."""

    def _valid(self, issued: Array, first: Array, done: Array) -> bool:
        """Return whether LoadGen's early stopping accepts both latencies."""
        over = (
            (first - issued > self.engine.ttft_s).sum(),
            ((done - first) / (self.engine.tokens - 1) > self.engine.tpot_s).sum(),
        )
        share, count = 1 - self.engine.percentile, len(issued)
        odds = stats.binom.cdf(over, count, share)
        return bool((odds <= 1 - EARLY_STOPPING_CONFIDENCE).all())


def found_in_simulation(
    engine: Engine, seed: int, start: float, longest_s: float
) -> tuple[CampaignSize, list[CampaignRun]]:
    """Return what a campaign finds for `engine` in simulated time, and its runs."""
    options = CampaignOptions(sizes=[1], tolerance=TOLERANCE, longest_s=longest_s)
    config = load_config(["scenario=server", f"scenario.target_qps={start:.6g}"])
    campaign = Campaign(kind="scaling", command=[], scenario="server", started="")
    series = SimulatedSeries(
        root=Path(),
        campaign=campaign,
        children=Children(),
        overrides=[],
        cores_per_replica=1,
        engine=engine,
        seed=seed,
    )
    (found,) = find_rates(options, config, series)
    return found, [made.record for made in series.finished]


def found_in_real_time(
    engine: Engine, start: float
) -> tuple[int, CampaignSize, list[CampaignRun]]:
    """Return the exit code of `campaigns.scaling`, what it found, and its runs."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "campaign"
        command = [
            sys.executable,
            *("-m", "campaigns.scaling", "replicas=1", f"tolerance={TOLERANCE}"),
            *("scenario=server", f"scenario.target_qps={start:.6g}"),
            *("engine=synthetic", f"engine.step_s={engine.step_s}"),
            f"engine.decode_s_per_sequence={engine.decode_s}",
            f"engine.prefill_s_per_token={engine.prefill_s}",
            f"engine.max_num_seqs={engine.max_seqs}",
            f"engine.max_num_batched_tokens={engine.budget}",
            f"engine.output_tokens={engine.tokens}",
            *("dataset=synthetic", "dataset.count=64"),
            f"dataset.prompt_tokens={engine.prompt}",
            *(f"run.ttft_ms={1000 * engine.ttft_s:.6g}", "run.live=plain"),
            f"run.tpot_ms={1000 * engine.tpot_s:.6g}",
            f"run.latency_percentile={engine.percentile}",
            f"run.dir={root}",
        ]
        code = subprocess.run(
            command, cwd=ROOT, stdout=sys.stderr, check=False
        ).returncode
        campaign = read_campaign(root)
        return code, campaign.sizes[0], campaign.runs


def main() -> int:
    """Print the tables; return 1 where a rate is too far from the true one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=int, default=20, help="simulated")
    parser.add_argument("--real", type=int, default=0, help="in real time")
    options = parser.parse_args()
    print("| engine | limits | true | found | beside it by | runs | arrivals |")
    print("|---|---|---|---|---|---|---|")
    wrong = 0
    for seed in range(options.engines):
        engine = random_engine(seed)
        true = true_rate(engine)
        start = true * 10 ** np.random.default_rng(seed).uniform(-1.5, 1.5)
        found, runs = found_in_simulation(engine, 500 + seed, start, 20_000.0)
        wrong += _row(f"{seed}", engine, true, found, runs)
    for seed in range(options.real):
        engine = fast_engine(seed)
        true = true_rate(engine)
        code, found, runs = found_in_real_time(engine, true * (0.5, 1.6, 0.9)[seed % 3])
        wrong += _row(f"real {seed}", engine, true, found, runs)
        wrong += code != (1 if found.sustained_qps is None else 0)
    return 1 if wrong else 0


def _row(
    name: str,
    engine: Engine,
    true: float,
    found: CampaignSize,
    runs: list[CampaignRun],
) -> bool:
    """Print a row; return whether the rate is too far from the true one."""
    rate = found.sustained_qps
    beside = None if rate is None else rate / true - 1
    seconds = sum((run.queries or 0) / (run.rate or 1.0) for run in runs)
    print(
        f"| {name}: {engine.max_seqs} sequences, {engine.step_s * 1000:.3g} ms +"
        f" {engine.decode_s * 1e6:.3g} us each"
        f" | p{100 * engine.percentile:g}: TTFT {engine.ttft_s:.3g} s, TPOT"
        f" {engine.tpot_s * 1000:.3g} ms | {true:.4g}/s"
        f" | {'none' if rate is None else f'{rate:.4g}/s'}"
        f" | {'-' if beside is None else f'{beside:+.1%}'}"
        f" | {len(runs)} | {seconds:,.0f} s |",
        flush=True,
    )
    return beside is not None and abs(beside) > TOLERANCE


if __name__ == "__main__":
    sys.exit(main())
