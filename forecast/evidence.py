"""What recorded runs say of their replicas and samples."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import UserError
from forecast.limits import Limits, Samples
from forecast.step_time import FEWEST, StepTime, fit_step_time
from record.folder import RunFolder, read_json, read_lines
from record.latency_limits import latency_limits
from record.steps import Steps, read_steps
from record.structs import ReplicaRecord, SampleRecord, SettingsRecord

_NS_PER_S = 1e9
SCENARIOS = ("Offline", "Server")
"""LoadGen scenarios whose queries are simulated."""
_MOST_ROWS, _MOST_TOKENS, _LARGEST_BLOCK = 10_000_000, 1_000_000, 65_536
_WAY_S = 0.0002
"""Where no replica measured how long it held a sample."""


@dataclass(slots=True, kw_only=True)
class ReplicaEvidence:
    """One replica of a recorded run."""

    record: ReplicaRecord
    steps: Steps
    kv_tokens: int | None
    kv_block: int
    graph_sizes: tuple[int, ...]
    """Tokens of its CUDA graphs, in ascending order."""
    model: StepTime


@dataclass(slots=True, kw_only=True)
class Evidence:
    """One recorded run; arrays by order of issue, times in s since the first issue."""

    folder: RunFolder
    settings: SettingsRecord
    replicas: list[ReplicaEvidence]
    issued: NDArray[np.float64]
    first: NDArray[np.float64] | None
    done: NDArray[np.float64]
    tokens: NDArray[np.float64]
    indices: NDArray[np.int64]
    prompts: NDArray[np.int64]
    ways_s: NDArray[np.float64]
    """Times that messages between coordinator and replica took."""
    issue_s: float
    """Median time from the issue until a sample was handed out; 0 in Offline."""

    @property
    def streaming(self) -> bool:
        """Whether first tokens were reported."""
        return self.first is not None

    @property
    def samples(self) -> Samples:
        """What figures and limits are computed from."""
        return Samples(
            issued=self.issued, first=self.first, done=self.done, tokens=self.tokens
        )

    def setting(self, name: str, default: float = 0.0) -> float:
        """Return a LoadGen setting that was in force."""
        value = self.settings.number(name)
        return default if value is None else value

    @property
    def schedule_seed(self) -> int:
        """The seed of LoadGen's schedule."""
        value = self.settings.effective.get("schedule_rng_seed", 0)
        return value if isinstance(value, int) else 0

    @property
    def limits(self) -> Limits:
        """The latency limits of the run."""
        return run_limits(self.settings)


def run_limits(settings: SettingsRecord) -> Limits:
    """Return the latency limits that LoadGen judged a run by."""
    limits = latency_limits(settings)
    return Limits(
        ttft_s=limits.ttft_s,
        tpot_s=limits.tpot_s,
        percentile=limits.percentile,
        early_stopping=settings.kind == "full",
    )


def read_evidence(path: Path) -> Evidence:
    """Return what the run in the folder `path` shows.

    Raises:
        RecordError: a file is missing or damaged.
        UserError: the run cannot be forecast from.
    """
    folder = RunFolder(path)
    settings = read_json(folder.settings, SettingsRecord)
    if settings.loadgen_scenario not in SCENARIOS:
        raise UserError(
            f"{path}: a run of {settings.loadgen_scenario}; a forecast needs one of"
            f" {' or '.join(SCENARIOS)} (Interactive included)"
        )
    records = read_json(folder.replicas, list[ReplicaRecord])
    if not folder.steps.exists():
        raise UserError(
            f"{path}: no steps.bin; make a run with run.steps=true (the default)"
        )
    steps = read_steps(folder.steps)
    if not len(steps):
        raise UserError(
            f"{path}: its engine recorded no steps (engine=endpoint never does);"
            " make a run with engine=vllm"
        )
    lines: Iterator[SampleRecord] = read_lines(folder.samples, SampleRecord)
    samples = [s for s in lines if s.status == "completed" and s.output_tokens > 0]
    samples.sort(key=lambda sample: sample.seq)
    if not samples:
        raise UserError(f"{path}: no sample was completed")
    for sample in samples:
        if (
            not 0 <= sample.qsl_index < _MOST_ROWS
            or not 0 < sample.prompt_tokens < _MOST_TOKENS
            or sample.output_tokens > _MOST_TOKENS
            or sample.completed_ns is None
        ):
            raise UserError(f"{path}: sample {sample.seq} has impossible numbers")
    if settings.streaming and any(s.first_token_ns is None for s in samples):
        raise UserError(f"{path}: a sample has no first token, but the run streamed")
    replicas = [_replica(record, steps) for record in records]
    fitted = [replica for replica in replicas if replica is not None]
    if not fitted:
        raise UserError(
            f"{path}: no replica has {FEWEST} engine steps; make a longer run"
        )
    begin = samples[0].issued_ns

    def seconds(name: str) -> NDArray[np.float64]:
        values = [getattr(sample, name) for sample in samples]
        return np.asarray((np.array(values, np.int64) - begin) / _NS_PER_S)

    return Evidence(
        folder=folder,
        settings=settings,
        replicas=fitted,
        issued=seconds("issued_ns"),
        first=seconds("first_token_ns") if settings.streaming else None,
        done=seconds("completed_ns"),
        tokens=np.array([s.output_tokens for s in samples], float),
        indices=np.array([s.qsl_index for s in samples], np.int64),
        prompts=np.array([s.prompt_tokens for s in samples], np.int64),
        ways_s=_ways_s(samples),
        issue_s=_issue_s(samples) if settings.streaming else 0.0,
    )


def _replica(record: ReplicaRecord, steps: Steps) -> ReplicaEvidence | None:
    own = np.array(steps[steps["replica"] == record.replica])
    if len(own) < FEWEST:
        return None
    tokens = _whole(record.engine.get("kv_cache_tokens"))
    block = min(_whole(record.engine.get("kv_block_size")) or 16, _LARGEST_BLOCK)
    listed = record.engine.get("cuda_graph_sizes")
    found = listed if isinstance(listed, list) else []
    sizes = tuple(sorted(size for size in map(_whole, found) if size))
    return ReplicaEvidence(
        record=record,
        steps=own,
        kv_tokens=tokens,
        kv_block=block,
        graph_sizes=sizes,
        model=fit_step_time(own, tokens, block, sizes),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < 2**53 else None


def _issue_s(samples: list[SampleRecord]) -> float:
    waits = [
        (s.dispatched_ns - s.issued_ns) / _NS_PER_S for s in samples if s.dispatched_ns
    ]
    return max(0.0, float(np.median(waits))) if waits else 0.0


def _ways_s(samples: list[SampleRecord]) -> NDArray[np.float64]:
    ways = [
        max(0.0, (s.completed_ns - s.dispatched_ns - s.residence_ns) / 2 / _NS_PER_S)
        for s in samples
        if s.completed_ns and s.dispatched_ns and s.residence_ns is not None
    ]
    return np.array(ways or [_WAY_S])


def pooled(runs: Sequence[Evidence]) -> Evidence:
    """Return the first run, with models fitted from the steps of all.

    Raises:
        UserError: the runs are of different models or devices.
    """
    base = runs[0]
    kind = _kind(base)
    for run in runs[1:]:
        if _kind(run) != kind:
            raise UserError(
                f"{run.folder.path} is of another model or device than"
                f" {base.folder.path}; give runs of one kind"
            )
    if len(runs) == 1:
        return base
    replicas = []
    for number in sorted({r.record.replica for run in runs for r in run.replicas}):
        parts = [r for run in runs for r in run.replicas if r.record.replica == number]
        steps = np.concatenate([part.steps for part in parts])
        first = parts[0]
        model = fit_step_time(steps, first.kv_tokens, first.kv_block, first.graph_sizes)
        replicas.append(replace(first, steps=steps, model=model))
    return replace(base, replicas=replicas)


def _kind(run: Evidence) -> tuple[object, object, object]:
    record = run.replicas[0].record
    return record.model, record.devices[:1], record.engine.get("kv_cache_tokens")
