"""Telemetry, read once a second, as columns for each kind of line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

import numpy as np

from record.folder import read_batches
from record.structs import DeviceLine, EngineLine, HostLine, TelemetryLine
from report.reading.samples import BoolArray, FloatArray, IntArray

COORDINATOR = -1
"""Replica number that stands for the coordinator."""

HARMFUL = 0x8 | 0x20 | 0x40 | 0x80
"""NVML's clock event reasons that reduce speed: hardware slowdown, software and
hardware thermal slowdown, power brake."""
POWER_CAP = 0x4
"""NVML's clock event reason of a device at its power limit; common under full load."""

_MEASURES: dict[type[TelemetryLine], tuple[str, ...]] = {
    DeviceLine: (
        "memory_used_bytes",
        "memory_total_bytes",
        "utilization_pct",
        "power_w",
        "temperature_c",
        "sm_clock_mhz",
        "memory_clock_mhz",
        "throttle_reasons",
        "ecc_errors",
        "ecc_corrected",
        "pcie_generation",
        "pcie_width",
        "pcie_replays",
        "nvlink_errors",
        "xid",
    ),
    EngineLine: ("running", "waiting", "kv_used"),
    HostLine: ("process_cpu_pct", "host_cpu_pct", "steal_pct", "involuntary_switches"),
}


@dataclass(slots=True, kw_only=True)
class Readings:
    """Lines of one kind, ordered by time."""

    t_ns: IntArray
    replica: IntArray
    device: list[str]
    """Name of the device; empty for lines of an engine or a host."""
    values: dict[str, FloatArray]
    """By measure; NaN where it could not be read."""
    _by_replica: IntArray | None = None
    """Lines in the order of their replicas, once it was asked for."""

    def lines(self, replica: int) -> IntArray:
        """Return the places of the lines of one replica, ordered by time."""
        if self._by_replica is None:
            self._by_replica = np.argsort(self.replica, kind="stable")
        order = self._by_replica
        begin, end = (
            np.searchsorted(self.replica, replica, side, order)
            for side in ("left", "right")
        )
        return order[begin:end]

    def of(self, replica: int, measure: str) -> FloatArray:
        """Return the known values of a measure for one replica, ordered by time."""
        values = self.values[measure][self.lines(replica)]
        known: FloatArray = values[~np.isnan(values)]
        return known

    def during(self, begin_ns: int, end_ns: int) -> "Readings":
        """Return the lines between two times, both included."""
        return self._where((self.t_ns >= begin_ns) & (self.t_ns <= end_ns))

    def _where(self, mask: BoolArray) -> "Readings":
        return Readings(
            t_ns=self.t_ns[mask],
            replica=self.replica[mask],
            device=[self.device[i] for i in np.flatnonzero(mask)]
            if any(self.device)
            else [],
            values={name: values[mask] for name, values in self.values.items()},
        )


@dataclass(slots=True, kw_only=True)
class Telemetry:
    """All of `telemetry.jsonl`."""

    devices: Readings
    engines: Readings
    hosts: Readings

    def during(self, begin_ns: int, end_ns: int) -> "Telemetry":
        """Return the lines between two times, both included."""
        return Telemetry(
            devices=self.devices.during(begin_ns, end_ns),
            engines=self.engines.during(begin_ns, end_ns),
            hosts=self.hosts.during(begin_ns, end_ns),
        )


@dataclass(slots=True)
class _Columns:
    """Columns of a kind of line, a part for each batch."""

    t_ns: list[IntArray] = field(default_factory=list)
    replica: list[IntArray] = field(default_factory=list)
    device: list[str] = field(default_factory=list)
    values: list[FloatArray] = field(default_factory=list)
    """Shape (measure, line)."""


def read_telemetry(path: Path) -> Telemetry:
    """Return the telemetry in the file `path`.

    Raises:
        RecordError: the file is missing or a line is damaged.
    """
    columns = {kind: _Columns() for kind in _MEASURES}
    batches: Iterator[list[TelemetryLine]] = read_batches(path, TelemetryLine)
    for batch in batches:
        for kind, own in columns.items():
            _add(own, kind, [line for line in batch if type(line) is kind])
    return _telemetry(columns)


def no_telemetry() -> Telemetry:
    """Return the telemetry of a run that recorded none."""
    return _telemetry({kind: _Columns() for kind in _MEASURES})


def _add(
    columns: _Columns, kind: type[TelemetryLine], lines: Sequence[TelemetryLine]
) -> None:
    if not lines:
        return
    measures = attrgetter(*_MEASURES[kind])
    replicas = (line.replica for line in lines)
    columns.t_ns.append(np.array([line.t_ns for line in lines], np.int64))
    columns.replica.append(
        np.array([COORDINATOR if r is None else r for r in replicas], np.int64)
    )
    columns.device += [getattr(line, "device", "") for line in lines]
    # numpy makes NaN of None.
    values = np.array([measures(line) for line in lines], float)
    columns.values.append(np.ascontiguousarray(values.T))


def _telemetry(columns: dict[type[TelemetryLine], _Columns]) -> Telemetry:
    return Telemetry(
        devices=_series(DeviceLine, columns[DeviceLine]),
        engines=_series(EngineLine, columns[EngineLine]),
        hosts=_series(HostLine, columns[HostLine]),
    )


def _series(kind: type[TelemetryLine], columns: _Columns) -> Readings:
    names = _MEASURES[kind]
    t_ns, replica = (
        np.concatenate([np.zeros(0, np.int64), *parts])
        for parts in (columns.t_ns, columns.replica)
    )
    values = np.concatenate([np.zeros((len(names), 0)), *columns.values], axis=1)
    order = np.argsort(t_ns, kind="stable")
    return Readings(
        t_ns=t_ns[order],
        replica=replica[order],
        device=[columns.device[i] for i in order.tolist()],
        values={name: row[order] for name, row in zip(names, values, strict=True)},
    )
