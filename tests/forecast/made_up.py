"""Runs of which every step's duration is known, as a recorder leaves them."""

from pathlib import Path

import msgspec
import numpy as np

from forecast.engine import EngineShape, ModelEngine
from forecast.simulation import Produced, Result, Simulation
from forecast.step_time import StepTime
from record.folder import RunFolder, read_json, write_json
from record.steps import STEP, header
from record.structs import SampleRecord, SettingsRecord
from scenarios.schedule import ServerSchedule
from sut.balancers import make_balancer
from tests.run_folder import START_NS, good_spec, replica_record, sample, write_folder

SEED = 12345
TRUE = (0.01, 1e-5, 1e-4, 3e-4, 2e-8)
"""Of a step, a prefill token, a decoding sequence, a prompt and a cached token; s."""
SHAPE = EngineShape(
    max_num_seqs=64,
    max_num_batched_tokens=2048,
    kv_blocks=4000,
    kv_block_size=16,
    asynchronous=False,
    streaming=True,
)


def model(*coefficients: float) -> StepTime:
    """Return a model of these coefficients, without noise."""
    return StepTime(
        coefficients=np.array(coefficients or TRUE),
        overhead_s=0.0,
        factors=np.ones(64),
        extra_s=np.zeros(64),
        most=np.zeros(3),
    )


class RecordingEngine(ModelEngine):
    """Keeps a record of each step, as a scheduler that records would."""

    def __init__(
        self,
        shape: EngineShape,
        outputs: list[int],
        noise_seed: int,
        coefficients: tuple[float, ...] = TRUE,
    ) -> None:
        self._rng = np.random.default_rng(noise_seed)
        super().__init__(shape, model(*coefficients), outputs, iter(self._luck, None))
        self.records: list[tuple[int, ...]] = []
        self._begin = 0.0

    def _luck(self) -> tuple[float, float]:
        return float(np.exp(self._rng.normal(0, 0.02))), 0.0

    def begin_step(self, now: float, quiet_s: float = 0.0) -> float:
        self._begin = now
        return super().begin_step(now)  # each step has a record

    def end_step(self, now: float) -> Produced:
        plan = self._current
        free = self._shape.kv_blocks or 0
        self.records.append(
            (
                START_NS + round(self._begin * 1e9),
                round((now - self._begin) * 1e9),
                plan.prefill,
                plan.decode,
                plan.decode + plan.begun,
                self.waiting,
                free - plan.context // self._shape.kv_block_size,
                0,
                0,
            )
        )
        return super().end_step(now)


def write_run(
    path: Path,
    rate: float,
    queries: int = 800,
    shape: EngineShape = SHAPE,
    coefficients: tuple[float, ...] = TRUE,
    noise_seed: int | None = None,
    seed: int = SEED,
) -> RunFolder:
    """Write a Server run of one replica at `rate` queries/s.

    Args:
        path: of its folder.
        rate: queries/s.
        queries: of the run.
        shape: of the engine.
        coefficients: of its step time.
        noise_seed: None: one for each rate.
        seed: of LoadGen's schedule.
    """
    rng = np.random.default_rng(7)
    lengths = rng.integers(200, 1500, 300).tolist()
    outputs = rng.integers(20, 40, 300).tolist()
    schedule = ServerSchedule(seed=seed, pass_queries=queries, min_duration_s=0.0)
    arrivals = schedule.times(queries)[:queries] / rate
    indices = np.arange(queries) % 300
    noise = int(rate) if noise_seed is None else noise_seed
    engine = RecordingEngine(shape, outputs, noise, coefficients)
    simulation = Simulation(
        [engine], make_balancer(None, True), lengths, outputs, by_demand=False
    )
    result = simulation.run(arrivals, indices)
    return _write(path, rate, result, engine, lengths, indices, seed)


def _write(
    path: Path,
    rate: float,
    result: Result,
    engine: RecordingEngine,
    lengths: list[int],
    indices: np.ndarray,
    seed: int,
) -> RunFolder:
    spec = good_spec(2, replicas=1)
    spec.scenario, spec.streaming = "server", True
    spec.samples = _samples(result, lengths, indices)
    record = replica_record(0)
    record.engine = {
        "max_num_seqs": engine._shape.max_num_seqs,
        "max_num_batched_tokens": engine._shape.max_num_batched_tokens,
        "kv_cache_tokens": (engine._shape.kv_blocks or 0) * 16,
        "kv_block_size": 16,
        "async_scheduling": engine._shape.asynchronous,
    }
    spec.records = [record]
    folder = write_folder(path, spec)
    steps = np.array(engine.records, STEP)
    folder.steps.write_bytes(header() + steps.tobytes())
    settings = read_json(folder.settings, SettingsRecord)
    settings.effective |= {
        "server_target_qps": rate,
        "schedule_rng_seed": seed,
        "ttft_latency": 0,
        "tpot_latency": 0,
        "server_target_latency_percentile": 0.9,
    }
    write_json(folder.settings, settings)
    return folder


def _samples(
    result: Result, lengths: list[int], indices: np.ndarray
) -> list[SampleRecord]:
    def at(seconds: float) -> int:
        return START_NS + round(seconds * 1e9)

    return [
        msgspec.structs.replace(
            sample(seq),
            qsl_index=int(index),
            issued_ns=at(result.issued[seq]),
            dispatched_ns=at(result.issued[seq]),
            first_token_ns=at(result.first[seq]),
            completed_ns=at(result.completed[seq]),
            residence_ns=round(
                (result.completed[seq] - result.issued[seq] - 0.0004) * 1e9
            ),
            prompt_tokens=lengths[index],
            output_tokens=int(result.tokens[seq]),
        )
        for seq, index in enumerate(indices)
    ]
