"""`status.json`: the state of a run that lasts, written again each second.

What is in the other files of the folder is not repeated here: who watches a run reads
its settings, samples, telemetry and events there.
"""

import platform
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from record.folder import RunFolder, read_json, write_json
from record.structs import Int64

_SILENT_S = 15.0
"""`status.json` is written once a second; a busy host may delay it."""
_GONE_S = 1800.0
"""Silence after which a run of another host counts as ended."""
RunState = Literal["starting", "running", "finished"]


class ReplicaStatus(Struct, kw_only=True):
    """One replica at this moment."""

    replica: Int64
    node: str
    state: str
    """starting, ready, fenced, restarting or lost."""
    phase: str
    """The step of its start, while it is not ready; otherwise its state."""
    sent: Int64 = 0
    """Samples sent to it."""
    finished: Int64 = 0
    """Samples that it answered."""
    outstanding: Int64 = 0
    """Samples that it has."""
    running: Int64 = 0
    """Samples that its engine works on, by its last heartbeat."""
    tokens_per_s: float | None = None
    """Output tokens/s in the last half minute; None: not known yet."""


class Percentiles(Struct, kw_only=True):
    """A latency of the last 512 completed samples, in ms."""

    p50: float
    p99: float


class RunStatus(Struct, kw_only=True):
    """A run at one moment."""

    state: RunState
    updated_ns: Int64
    """When this was written, in ns since the epoch by the run's own clock."""
    started_ns: Int64
    """When the coordinator began to start the replicas."""
    begin_ns: Int64 | None = None
    """When LoadGen's test began."""
    outcome: str | None = None
    """That of `verdict.json`, once the run is finished."""
    pid: int
    """Process id of the coordinator."""
    host: str
    """The coordinator's host."""
    expected: Int64 | None = None
    """Samples that LoadGen will issue, where that is known."""
    issued: Int64 = 0
    completed: Int64 = 0
    waiting: Int64 = 0
    """Samples that no replica has yet."""
    running: Int64 = 0
    """Samples that engines work on."""
    fences: Int64 = 0
    """How often a replica was lost."""
    samples_per_s: float | None = None
    """In the last half minute; None: not known yet."""
    tokens_per_s: float | None = None
    """Output tokens/s in the last half minute; None: not known yet."""
    progress: float | None = None
    """Share of the work that is done, 0 to 1; None: not known."""
    eta_s: float | None = None
    """Seconds until the last answer; None: not known."""
    ttft_ms: Percentiles | None = None
    tpot_ms: Percentiles | None = None
    replicas: list[ReplicaStatus] = field(default_factory=list)
    """All replicas, in order of number."""


def read_status(folder: RunFolder) -> RunStatus:
    """Return the state of the run in `folder`.

    Raises:
        RecordError: `status.json` is missing or damaged.
    """
    return read_json(folder.status, RunStatus)


def is_abandoned(status: RunStatus, now_ns: int) -> bool:
    """Return whether a run without an end cannot be at work any more.

    Its process was killed, or its host went away: then nothing writes the end. A run
    that judges millions of samples is silent for minutes; on its own host its process
    shows that it lives.

    Args:
        status: of the run.
        now_ns: ns since the epoch.
    """
    silent_s = (now_ns - status.updated_ns) / 1e9
    if status.state == "finished" or silent_s < _SILENT_S:
        return False
    if status.host == platform.node():
        return not Path(f"/proc/{status.pid}").exists()
    return silent_s > _GONE_S


def finish_status(folder: RunFolder, outcome: str, now_ns: int) -> None:
    """Record that the run in `folder` has ended with `outcome`.

    Raises:
        RecordError: `status.json` is missing or damaged.
        OSError: it cannot be written.
    """
    status = read_status(folder)
    status.state, status.outcome, status.updated_ns = "finished", outcome, now_ns
    status.eta_s, status.running = None, 0
    for replica in status.replicas:
        replica.running = 0
    write_json(folder.status, status)
