"""How close `campaigns.search` comes to the true highest rate, in simulated time.

    python -m benchmarks.search FILE [--engines 20] [--seeds 10] [--seconds 280]

Random synthetic engines and limits (`benchmarks.rate_search`). The true rate comes from
long simulations that the search does not know. The search itself is the product's
(`campaigns.search.forecast_search`); only its runs are simulated: the synthetic
engine's rules with step times that vary by `NOISE`, and LoadGen's schedule from another
seed in each repetition. FILE gets a line for each search; a later call makes what is
missing. Prints a Markdown table once all are there; exits 1 where a search is neither
within 3% of the true rate nor has it in its interval.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import NotGood
from benchmarks.rate_search import Engine, random_engine, true_rate
from campaigns.search.forecast_search import ForecastSearch, RunLength
from campaigns.search.run import SearchRun
from forecast.engine import EngineShape, ModelEngine
from forecast.evidence import Evidence, ReplicaEvidence
from forecast.limits import Limits, Samples
from forecast.simulation import Produced, Simulation
from forecast.step_time import StepTime, fit_step_time
from record.folder import RunFolder
from record.steps import STEP
from record.structs import ReplicaRecord, SettingsRecord
from scenarios.schedule import ServerSchedule
from scenarios.steady_state import judge_times
from sut.balancers import make_balancer

NOISE = 0.02
"""Standard deviation of the logarithm of a step's duration."""
WITHIN = 0.03
QUERIES = 1000
"""Of each confirmation, or 15 for each sequence that runs at once."""
_ROWS = 1000


class RecordingEngine(ModelEngine):
    """Keeps a record of each step, as the product's schedulers do."""

    def __init__(self, engine: Engine, seed: int, outputs: list[int]) -> None:
        """Start idle; `seed` is of the noise."""
        self._rng = np.random.default_rng(seed)
        super().__init__(shape_of(engine), model_of(engine), outputs, self._luck())
        self.records: list[tuple[float, ...]] = []
        self._begin = 0.0

    def _luck(self) -> Iterator[tuple[float, float]]:
        while True:
            for factor in np.exp(self._rng.normal(0, NOISE, 4096)).tolist():
                yield factor, 0.0

    def begin_step(self, now: float, quiet_s: float = 0.0) -> float:  # noqa: ARG002
        """Begin one step: each has a record."""
        self._begin = now
        return super().begin_step(now)

    def end_step(self, now: float) -> Produced:
        """End it and keep its record."""
        plan = self._current
        self.records.append(
            (
                round(self._begin * 1e9),
                round((now - self._begin) * 1e9),
                plan.prefill,
                plan.decode,
                plan.decode + plan.begun,
                self.waiting,
                -1,
                0,
                0,
            )
        )
        return super().end_step(now)


def shape_of(engine: Engine) -> EngineShape:
    """Return the limits of the synthetic engine."""
    return EngineShape(
        max_num_seqs=engine.max_seqs,
        max_num_batched_tokens=engine.budget,
        kv_blocks=None,
        kv_block_size=16,
        asynchronous=False,
        streaming=True,
    )


def model_of(engine: Engine) -> StepTime:
    """Return the step times of the synthetic engine, without noise."""
    decode = engine.decode_s
    return StepTime(
        # A prompt that ends in a step is a running sequence of it.
        coefficients=np.array([engine.step_s, engine.prefill_s, decode, decode, 0.0]),
        overhead_s=0.0,
        factors=np.ones(64),
        extra_s=np.zeros(64),
        most=np.zeros(3),
    )


@dataclass(slots=True, kw_only=True)
class SimulatedRuns:
    """Makes the runs of a search in simulated time."""

    engine: Engine
    limits: Limits
    seed: int
    runs: int = 0

    def probe(self) -> SearchRun:
        """Make the run that the model is fitted from."""
        return self._run(512.0, 512)

    def confirm(self, rate: float, queries: int) -> SearchRun:
        """Make a run at `rate`."""
        return self._run(rate, queries)

    def _run(self, rate: float, queries: int) -> SearchRun:
        self.runs += 1
        lengths = [self.engine.prompt] * _ROWS
        outputs = [self.engine.tokens] * _ROWS
        schedule = ServerSchedule(
            seed=self.seed, pass_queries=queries, min_duration_s=0.0
        )
        arrivals = schedule.times(queries)[:queries] / rate
        recorder = RecordingEngine(self.engine, 97 * self.seed + self.runs, outputs)
        simulation = Simulation(
            [recorder], make_balancer(None, True), lengths, outputs, by_demand=False
        )
        indices = np.arange(queries) % _ROWS
        result = simulation.run(arrivals, indices)
        samples = Samples(
            issued=result.issued,
            first=result.first,
            done=result.completed,
            tokens=result.tokens.astype(float),
        )
        made = SearchRun(
            rate=rate,
            queries=queries,
            evidence=_evidence(self, rate, samples, indices, recorder),
            states=self.limits.judge(samples),
            steady=judge_times(samples.issued, result.first, samples.done),
        )
        missed = [state for state in made.states if state.load > 1]
        if missed and self.runs > 1:
            # Where the rule of the real runs would have stopped it.
            made.stopped = f"{missed[0].name} was missed"
        return made


def _evidence(
    runs: SimulatedRuns,
    rate: float,
    samples: Samples,
    indices: np.ndarray,
    engine: RecordingEngine,
) -> Evidence:
    steps = np.array(engine.records, STEP)
    record = ReplicaRecord(
        replica=0,
        node="n",
        pid=1,
        devices=[],
        cpus=[],
        versions={},
        model={},
        engine={
            "max_num_seqs": runs.engine.max_seqs,
            "max_num_batched_tokens": runs.engine.budget,
        },
        memory_bytes=None,
        load_s=0.0,
        compile_s=None,
        warmup_s=0.0,
        first_request_s=0.0,
        last_request_s=0.0,
    )
    settings = SettingsRecord(
        benchmark="datacenter",
        scenario="server",
        mode="performance",
        kind="smoke",
        streaming=True,
        loadgen_model="",
        loadgen_scenario="Server",
        is_benchmark=False,
        stop_token_ids=[],
        tokenizer=None,
        effective={"schedule_rng_seed": runs.seed, "server_target_qps": rate},
        rules={},
        relaxed=[],
    )
    return Evidence(
        folder=RunFolder(Path()),
        settings=settings,
        replicas=[
            ReplicaEvidence(
                record=record,
                steps=steps,
                kv_tokens=None,
                kv_block=16,
                graph_sizes=(),
                model=fit_step_time(steps),
            )
        ],
        issued=samples.issued,
        first=samples.first,
        done=samples.done,
        tokens=samples.tokens,
        indices=indices.astype(np.int64),
        prompts=np.full(len(indices), runs.engine.prompt),
        ways_s=np.array([0.0002]),
        issue_s=0.0,
    )


def search(engine: Engine, seed: int) -> dict[str, Any]:
    """Return what one search finds."""
    limits = Limits(
        ttft_s=engine.ttft_s, tpot_s=engine.tpot_s, percentile=engine.percentile
    )
    runs = SimulatedRuns(engine=engine, limits=limits, seed=1000 + seed)
    # A steady state shows in ten times as many queries as the engine runs at once.
    queries = max(QUERIES, 15 * engine.max_seqs)
    found = ForecastSearch(make=runs, limits=limits, length=RunLength(queries=queries))
    reason = ""
    try:
        found.find()
    except NotGood as error:
        reason = str(error)
    result = found.result
    return {
        "rate": result.sustained_qps,
        "estimate": result.estimate_qps,
        "low": result.low_qps,
        "high": result.high_qps,
        "runs": runs.runs,
        "reason": reason,
    }


def main() -> int:
    """Make the searches that are missing; print the table when all are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--engines", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=280.0)
    options = parser.parse_args()
    begin = time.monotonic()
    rows = _read(options.file)
    for seed in range(options.seeds):
        for number in range(options.engines):
            if any((r["engine"], r["seed"]) == (number, seed) for r in rows):
                continue
            if time.monotonic() - begin > options.seconds:
                print(f"{len(rows)} searches are there; call it again")
                return 1
            engine = random_engine(number)
            same = [row["true"] for row in rows if row["engine"] == number]
            row = {
                "engine": number,
                "seed": seed,
                "true": same[0] if same else _true(options.file, number),
                **search(engine, seed),
            }
            rows.append(row)
            with options.file.open("a") as file:
                file.write(json.dumps(row) + "\n")
    return _table(rows)


def _true(file: Path, number: int) -> float:
    """Return the true rate of an engine, kept beside `file` once it is known."""
    kept = file.with_suffix(".true.json")
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if str(number) not in known:
        known[str(number)] = true_rate(random_engine(number))
        kept.write_text(json.dumps(known))
    return float(known[str(number)])


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def _good(row: dict[str, Any]) -> bool:
    near = row["rate"] and abs(row["rate"] / row["true"] - 1) <= WITHIN
    inside = row["low"] and row["low"] <= row["true"] <= row["high"]
    return bool(near or inside)


def _table(rows: list[dict[str, Any]]) -> int:
    print(
        "| engine | limits | true | confirmed / true, median | worst | no rate"
        " | in the interval | its width | runs, mean | good |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for number in sorted({row["engine"] for row in rows}):
        own = [row for row in rows if row["engine"] == number]
        _row(random_engine(number), own, str(number))
    every = [row for row in rows if row["rate"]]
    ratios = np.array([row["rate"] / row["true"] - 1 for row in every])
    inside = [r["low"] <= r["true"] <= r["high"] for r in rows if r["low"]]
    print(
        f"\n{sum(map(_good, rows))} of {len(rows)} searches are good;"
        f" {len(rows) - len(every)} confirmed no rate. Confirmed / true: median"
        f" {np.median(ratios):+.1%}, 5% to 95% {np.quantile(ratios, 0.05):+.1%} to"
        f" {np.quantile(ratios, 0.95):+.1%}. {sum(inside)} of {len(inside)} intervals"
        f" hold the true rate. Most runs: {max(row['runs'] for row in rows)}."
    )
    return 0 if all(map(_good, rows)) else 1


def _row(engine: Engine, own: list[dict[str, Any]], name: str) -> None:
    ratios = [row["rate"] / row["true"] - 1 for row in own if row["rate"]]
    inside = [
        row for row in own if row["low"] and row["low"] <= row["true"] <= row["high"]
    ]
    widths = [row["high"] / row["low"] - 1 for row in own if row["low"]]
    print(
        f"| {name}: {engine.max_seqs} sequences, {engine.step_s * 1000:.3g} ms +"
        f" {engine.decode_s * 1e6:.3g} us each | p{100 * engine.percentile:g}: TTFT"
        f" {engine.ttft_s:.3g} s, TPOT {engine.tpot_s * 1000:.3g} ms"
        f" | {own[0]['true']:.4g}/s"
        f" | {np.median(ratios) if ratios else float('nan'):+.1%}"
        f" | {max(ratios, key=abs) if ratios else float('nan'):+.1%}"
        f" | {len(own) - len(ratios)} | {len(inside)} of {len(own)}"
        f" | {np.median(widths):.1%} | {np.mean([row['runs'] for row in own]):.1f}"
        f" | {sum(map(_good, own))} of {len(own)} |"
    )


if __name__ == "__main__":
    sys.exit(main())
