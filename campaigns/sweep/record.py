"""`sweep.json`: what a sweep asked for and what each of its runs measured."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from msgspec import Struct, field

from forecast.limits import Samples
from forecast.measures import measures
from record.folder import RecordError, RunFolder, read_json, read_lines
from record.structs import ReplicaRecord, SampleRecord, Verdict

NAME = "sweep.json"


class SweepRun(Struct, kw_only=True):
    """One run of a sweep."""

    point: int
    """Its place in `Sweep.points`, from 0."""
    repeat: int
    """From 0."""
    run: str | None
    """Name of its folder; None: it made none."""
    seconds: float
    """From its start to its end, loading included."""
    valid: bool = False
    """Whether it passed as `mlperf-sut run` judges it."""
    reason: str = ""
    """Why it did not."""
    devices: int = 1
    """GPUs; on CPUs replicas."""
    figures: dict[str, float] = field(default_factory=dict)
    """Throughput and latencies as in `forecast.json`; empty: nothing was measured."""


class Sweep(Struct, kw_only=True):
    """A sweep as far as it has come."""

    shared: list[str]
    """Options of every run."""
    points: list[dict[str, str]]
    """Values by option, of each point."""
    repeats: int
    """Runs of each point."""
    seed: int
    """Of the order of runs."""
    runs: list[SweepRun] = field(default_factory=list)
    """In the order in which they ended."""

    def problem(self) -> str:
        """Return why its parts do not fit each other; empty: they do."""
        for run in self.runs:
            if not 0 <= run.point < len(self.points):
                return "a run is of a point that is not there"
            if run.figures and not run.figures.get("tokens_per_s_per_device", 0.0) > 0:
                return "a run was measured and has no throughput"
        return ""


def read_run_of(
    point: int, repeat: int, folder: Path | None, code: int, seconds: float
) -> SweepRun:
    """Return what a run measured.

    Args:
        point: place of its point.
        repeat: from 0.
        folder: of the run; None: it made none.
        code: its exit code.
        seconds: that it took.
    """
    made = SweepRun(
        point=point,
        repeat=repeat,
        run=None if folder is None else folder.name,
        seconds=round(seconds, 3),
        reason=f"exit code {code} without a run folder; see above",
    )
    if folder is None:
        return made
    run = RunFolder(folder)
    try:
        verdict = read_json(run.verdict, Verdict)
        made.valid = verdict.outcome == "passed" and code == 0
        made.reason = "" if made.valid else verdict.reason
        replicas = read_json(run.replicas, list[ReplicaRecord])
        made.devices = max(
            len(replicas), len({(r.node, d) for r in replicas for d in r.devices}), 1
        )
        samples = read_samples(run)
        if samples is not None:
            found = measures(samples)
            made.figures = {key: float(value) for key, value in found.items()}
    except RecordError as error:
        made.valid, made.reason = False, str(error)
    if made.figures:
        made.figures["tokens_per_s_per_device"] = (
            made.figures["tokens_per_s"] / made.devices
        )
    return made


def read_samples(run: RunFolder) -> Samples | None:
    """Return the completed samples of a run; None: fewer than two.

    Raises:
        RecordError: they cannot be read.
    """
    lines: Iterator[SampleRecord] = read_lines(run.samples, SampleRecord)
    samples = [
        sample
        for sample in lines
        if sample.status == "completed" and sample.completed_ns is not None
    ]
    if len(samples) < 2:
        return None
    streamed = all(sample.first_token_ns is not None for sample in samples)

    def seconds(name: str) -> np.ndarray:
        return np.array([getattr(s, name) for s in samples], np.int64) / 1e9

    tokens = np.array([sample.output_tokens for sample in samples], float)
    first = seconds("first_token_ns") if streamed else None
    issued, done = seconds("issued_ns"), seconds("completed_ns")
    return Samples(issued=issued, first=first, done=done, tokens=tokens)
