"""One run in a list: what it was and what it showed, from a few small files."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, field

from record.find import find_runs
from record.folder import RecordError, RunFolder, read_json, read_yaml
from record.loadgen_log import read_detail
from record.status import RunStatus, is_abandoned
from record.structs import ReplicaRecord, SettingsRecord, Verdict

_RATES = (
    ("result_samples_per_second", "result_tokens_per_second"),
    ("result_completed_samples_per_sec", "result_completed_tokens_per_second"),
)
"""LoadGen's rates: Offline, then Server. SingleStream has only latencies."""
_STAMP = "%Y%m%dT%H%M%SZ"
STARTED = "%Y-%m-%d %H:%M:%S"
"""Form of the time at which a run started."""
_T = TypeVar("_T")


class _Named(Struct):
    name: str = ""


class _Target(Struct):
    name: str = ""
    target_qps: float | None = None


class _Config(Struct):
    """The parts of `config.yaml` that a list shows."""

    model: _Named = field(default_factory=_Named)
    engine: _Named = field(default_factory=_Named)
    scenario: _Target = field(default_factory=_Target)


class RunEntry(Struct, kw_only=True):
    """A run; what its folder does not have is empty or null."""

    path: str
    """Relative to the folder that is listed."""
    campaign: str = ""
    """Folder of its campaign."""
    started: str = ""
    """UTC, e.g. 2026-11-28 14:42:38."""
    scenario: str = ""
    mode: str = ""
    kind: str = ""
    model: str = ""
    engine: str = ""
    hosts: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    """Kinds of devices."""
    replicas: int = 0
    outcome: str = "unknown"
    """That of the verdict; running: the run has none yet; unknown: it has none, and
    its process is gone or its files are damaged."""
    degraded: bool = False
    submission_candidate: bool = False
    reason: str = ""
    target_qps: float | None = None
    samples_per_s: float | None = None
    tokens_per_s: float | None = None
    ttft_p99_ms: float | None = None
    tpot_p99_ms: float | None = None
    version: str = ""

    @property
    def ended(self) -> bool:
        """Whether the run has a verdict."""
        return self.outcome in ("passed", "failed", "aborted", "stopped")

    @property
    def setup(self) -> tuple[str, ...]:
        """What runs have in common whose rates can stand in one chart."""
        hosts, devices = ", ".join(self.hosts), ", ".join(self.devices)
        what = (self.scenario, self.mode, self.model, self.engine)
        return (hosts, devices, *what, str(self.replicas))


def list_runs(root: Path) -> list[RunEntry]:
    """Return every run in `root` and in the campaigns in it, oldest first."""
    return [read_entry(path, root) for path in find_runs(root)]


def read_entry(path: Path, root: Path) -> RunEntry:
    """Return the run in `path`; a file that is missing or damaged is left out."""
    folder = RunFolder(path)
    entry = RunEntry(path=str(path.relative_to(root)), started=_started(path.name))
    if path.parent != root:
        entry.campaign = path.parent.name
    _add_config(entry, folder)
    if (settings := _read(folder.settings, SettingsRecord)) is not None:
        entry.scenario, entry.mode = settings.scenario, settings.mode
        entry.kind, entry.version = settings.kind, settings.version
    if (replicas := _read(folder.replicas, list[ReplicaRecord])) is not None:
        entry.replicas = len(replicas)
        entry.hosts = _distinct(one.node for one in replicas)
        entry.devices = _distinct(name for one in replicas for name in _kinds(one))
    verdict = _read(folder.verdict, Verdict)
    if verdict is not None:
        entry.outcome, entry.reason = verdict.outcome, verdict.reason
        entry.degraded = verdict.degraded
        entry.submission_candidate = verdict.submission_candidate
        _add_figures(entry, folder)
    elif (status := _read(folder.status, RunStatus)) is not None:
        entry.outcome = "running"
        if is_abandoned(status, time.time_ns()):
            entry.outcome, entry.reason = "unknown", "ended without a verdict"
    return entry


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return read_json(path, kind)
    except RecordError:
        return None


def _add_config(entry: RunEntry, folder: RunFolder) -> None:
    try:
        config = read_yaml(folder.config, _Config)
    except RecordError:
        return
    entry.model, entry.engine = config.model.name, config.engine.name
    entry.scenario = config.scenario.name
    entry.target_qps = config.scenario.target_qps


def _add_figures(entry: RunEntry, folder: RunFolder) -> None:
    try:
        log = read_detail(folder.detail_log)
    except RecordError:
        return
    for samples, tokens in _RATES:
        if (rate := log.number(samples)) is not None:
            entry.samples_per_s = rate
            entry.tokens_per_s = log.number(tokens)
    ttft = log.number("result_first_token_99.00_percentile_latency_ns")
    tpot = log.number("result_time_per_output_token_99.00_percentile_ns")
    entry.ttft_p99_ms = None if ttft is None else ttft / 1e6
    entry.tpot_p99_ms = None if tpot is None else tpot / 1e6


def _kinds(replica: ReplicaRecord) -> list[str]:
    """Return the kinds of its devices, e.g. "NVIDIA H200" of "NVIDIA H200 #0"."""
    return [name.partition(" #")[0] for name in replica.devices]


def _distinct(names: Iterable[str]) -> list[str]:
    return sorted(set(names))


def _started(name: str) -> str:
    """Return the time that the name of a run folder begins with; empty: with none."""
    stamp = name.partition("-")[0]
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).strftime(STARTED)
    except ValueError:
        return ""
