"""Everything that a run folder holds, read once."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import yaml
from numpy.typing import NDArray

from record.errors import RecordError
from record.folder import RunFolder, read_json
from record.lines import read_lines
from record.loadgen_log import DetailLog, read_detail
from record.structs import (
    DeviceLine,
    EventRecord,
    ReplicaRecord,
    SampleRecord,
    SettingsRecord,
    TelemetryLine,
    Verdict,
)

FloatArray = NDArray[np.float64]


class Named(msgspec.Struct):
    """A part of the configuration that has a name."""

    name: str


class ClusterPart(msgspec.Struct):
    """The part of the configuration about the cluster."""

    balancer: str | None


class RunConfig(msgspec.Struct):
    """What the report tells of the configuration."""

    model: Named
    dataset: Named
    cluster: ClusterPart


@dataclass(slots=True, kw_only=True)
class Run:
    """One run, as its folder tells it."""

    folder: RunFolder
    config: RunConfig
    settings: SettingsRecord
    verdict: Verdict
    replicas: list[ReplicaRecord]
    samples: list[SampleRecord]
    """In order of completion."""
    events: list[EventRecord]
    telemetry: list[TelemetryLine]
    log: DetailLog

    @property
    def completed(self) -> list[SampleRecord]:
        """Samples that were answered."""
        return [s for s in self.samples if s.status == "completed"]

    @property
    def wall_s(self) -> float:
        """Seconds from the first issue to the last completion."""
        done = self.completed
        if not done:
            return 0.0
        begin = min(s.issued_ns for s in self.samples)
        return (max(s.completed_ns or 0 for s in done) - begin) / 1e9

    def peak_memory(self, replica: int) -> int | None:
        """Return the most memory seen in use on a replica's devices, in bytes."""
        peaks: dict[str, int] = {}
        for line in self.telemetry:
            if isinstance(line, DeviceLine) and line.replica == replica:
                used = line.memory_used_bytes or 0
                peaks[line.device] = max(used, peaks.get(line.device, 0))
        return sum(peaks.values()) or None


def read_run(path: Path) -> Run:
    """Return the run in the folder `path`.

    Raises:
        RecordError: a file is missing or damaged.
    """
    folder = RunFolder(path)
    if not path.is_dir():
        raise RecordError(path, "no such run folder")
    return Run(
        folder=folder,
        config=_read_config(folder.config),
        settings=read_json(folder.settings, SettingsRecord),
        verdict=read_json(folder.verdict, Verdict),
        replicas=read_json(folder.replicas, list[ReplicaRecord]),
        samples=list(read_lines(folder.samples, SampleRecord)),
        events=list(read_lines(folder.events, EventRecord)),
        telemetry=list(read_lines(folder.telemetry, TelemetryLine)),
        log=read_detail(folder.detail_log),
    )


def service_ms(samples: list[SampleRecord]) -> FloatArray:
    """Return dispatch to completion in ms, one entry per completed sample."""
    return np.array(
        [
            (s.completed_ns - s.dispatched_ns) / 1e6
            for s in samples
            if s.completed_ns is not None and s.dispatched_ns is not None
        ]
    )


def ttft_ms(samples: list[SampleRecord]) -> FloatArray:
    """Return issue to first token in ms, one entry per streamed sample."""
    return np.array(
        [(s.first_token_ns - s.issued_ns) / 1e6 for s in samples if s.first_token_ns]
    )


def tpot_ms(samples: list[SampleRecord]) -> FloatArray:
    """Return (completion - first token) / (tokens - 1) in ms per streamed sample."""
    return np.array(
        [
            (s.completed_ns - s.first_token_ns) / 1e6 / (s.output_tokens - 1)
            for s in samples
            if s.completed_ns and s.first_token_ns and s.output_tokens > 1
        ]
    )


def _read_config(path: Path) -> RunConfig:
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=RunConfig)
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecordError(path, " ".join(str(error).split())) from error
