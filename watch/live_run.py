"""A run that lasts, or has ended, as its folder shows it at each look."""

import contextlib
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
from msgspec import Struct

from record.folder import RecordError, RunFolder, read_json
from record.latency_limits import LatencyLimits, latency_limits
from record.status import RunStatus, read_status
from record.structs import (
    DeviceLine,
    EngineLine,
    EventRecord,
    HostLine,
    Int64,
    SettingsRecord,
    TelemetryLine,
)
from watch.histogram import Histograms, bounds_for
from watch.tail import Tail
from watch.timeline import Timeline

_RECENT_EVENTS = 100
Key = tuple[str, int]
"""Node and number of a replica; `""` and -1: a sample that no replica had."""


class _Sample(Struct, gc=False):
    """The fields of `SampleRecord` that are needed here."""

    node: str | None
    replica: Int64 | None
    issued_ns: Int64
    first_token_ns: Int64 | None
    completed_ns: Int64 | None
    prompt_tokens: Int64
    output_tokens: Int64
    status: str


@dataclass(slots=True)
class Totals:
    """The final samples of one replica."""

    completed: int = 0
    lost: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class LiveRun:
    """What the files of a run folder add up to; call `refresh` about once a second."""

    folder: RunFolder
    timeline: Timeline | None = None
    """Is filled, too, if it is given."""
    limits: LatencyLimits = field(init=False)
    status: RunStatus | None = field(default=None, init=False)
    totals: dict[Key, Totals] = field(default_factory=dict, init=False)
    """By replica. The order is that of the rows of the histograms."""
    ttft: Histograms = field(init=False)
    tpot: Histograms = field(init=False)
    latency: Histograms = field(init=False)
    """From issue to the last token."""
    engines: dict[Key, EngineLine] = field(default_factory=dict, init=False)
    devices: dict[tuple[str, int, str], DeviceLine] = field(
        default_factory=dict, init=False
    )
    hosts: dict[tuple[str, int | None], HostLine] = field(
        default_factory=dict, init=False
    )
    events: Counter[tuple[str, str, int]] = field(default_factory=Counter, init=False)
    """By kind, node and replica."""
    recent_events: deque[EventRecord] = field(
        default_factory=lambda: deque(maxlen=_RECENT_EVENTS), init=False
    )
    _rows: dict[Key, int] = field(default_factory=dict, init=False)
    _samples: Tail[_Sample] = field(init=False)
    _events: Tail[EventRecord] = field(init=False)
    _telemetry: Tail[TelemetryLine] = field(init=False)

    def __post_init__(self) -> None:
        """Read the limits, which do not change, and begin at the start of the files."""
        settings = read_settings(self.folder)
        self.limits = LatencyLimits() if settings is None else latency_limits(settings)
        self.ttft = Histograms(bounds_for(self.limits.ttft_s))
        self.tpot = Histograms(bounds_for(self.limits.tpot_s))
        self.latency = Histograms(bounds_for(None))
        self._samples = Tail(self.folder.samples, _Sample)
        self._events = Tail(self.folder.events, EventRecord)
        self._telemetry = Tail(self.folder.telemetry, TelemetryLine)  # type: ignore[arg-type]

    def refresh(self) -> None:
        """Read what was written since the last call."""
        # A run of an earlier version has none, and one that starts not yet.
        with contextlib.suppress(RecordError):
            self.status = read_status(self.folder)
        for samples in self._samples.read():
            self._add(samples)
        for lines in self._telemetry.read():
            for line in lines:
                self._take(line)
        for events in self._events.read():
            for event in events:
                replica = -1 if event.replica is None else event.replica
                self.events[event.kind, event.node or "", replica] += 1
                self.recent_events.append(event)

    def _take(self, line: TelemetryLine) -> None:
        if isinstance(line, EngineLine):
            self.engines[line.node, line.replica] = line
            if self.timeline is not None:
                self.timeline.add_engine(line)
        elif isinstance(line, DeviceLine):
            known = self.devices.get((line.node, line.replica, line.device))
            if known is not None:
                _keep_rare_values(line, known)
            self.devices[line.node, line.replica, line.device] = line
        else:
            self.hosts[line.node, line.replica] = line

    def _add(self, samples: list[_Sample]) -> None:
        rows, ttft, tpot, latency = [], [], [], []
        done: list[tuple[int, int]] = []
        for sample in samples:
            key = (sample.node or "", -1 if sample.replica is None else sample.replica)
            if key not in self.totals:
                self._rows[key] = len(self.totals)
                self.totals[key] = Totals()
            totals = self.totals[key]
            if sample.status != "completed" or sample.completed_ns is None:
                totals.lost += sample.status == "lost"
                continue
            totals.completed += 1
            totals.prompt_tokens += sample.prompt_tokens
            totals.output_tokens += sample.output_tokens
            rows.append(self._rows[key])
            done.append((sample.completed_ns, sample.output_tokens))
            latency.append(sample.completed_ns - sample.issued_ns)
            first, more = sample.first_token_ns, sample.output_tokens - 1
            ttft.append(np.nan if first is None else first - sample.issued_ns)
            each = np.nan if first is None or more < 1 else sample.completed_ns - first
            tpot.append(each / max(1, more))
        places = np.array(rows, np.int64)
        for histograms, values in (
            (self.ttft, ttft),
            (self.tpot, tpot),
            (self.latency, latency),
        ):
            seconds = np.array(values, np.float64) / 1e9
            known = ~np.isnan(seconds)
            histograms.add(places[known], seconds[known], len(self.totals))
        if self.timeline is not None and done:
            times, tokens = np.array(done, np.int64).T
            self.timeline.add_samples(times, tokens, np.array(ttft, float) / 1e9)


def _keep_rare_values(line: DeviceLine, known: DeviceLine) -> None:
    """Give `line` the last value of what is not in every line."""
    for name in ("pcie_replays", "nvlink_errors", "xid"):
        if getattr(line, name) is None:
            setattr(line, name, getattr(known, name))


def read_settings(folder: RunFolder) -> SettingsRecord | None:
    """Return the settings of the run; None if there are none that can be read."""
    try:
        return read_json(folder.settings, SettingsRecord)
    except RecordError:
        return None
