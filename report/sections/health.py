"""The table of the health of devices, their links and their cores."""

from dataclasses import dataclass

import numpy as np

from record.devices import DeviceHealth
from record.structs import ReplicaRecord
from report.figures import Column, Table, table
from report.reading.run import Run
from report.reading.samples import FloatArray
from report.statistics.device_lines import DeviceLines


@dataclass(slots=True)
class _Device:
    lines: DeviceLines
    record: ReplicaRecord
    health: DeviceHealth

    def readings(self, measure: str) -> FloatArray:
        return self.lines.values(self.record.replica, self.health.device, measure)

    def highest(self, measure: str) -> int | None:
        known = self.readings(measure)
        return int(known.max()) if len(known) else None

    def rise(self, measure: str) -> int | None:
        known = self.readings(measure)
        return int(np.ptp(known)) if len(known) else None


def _link(generation: int | None, width: int | None) -> str | None:
    return f"gen{generation} x{width}" if generation and width else None


def _nodes(one: _Device) -> str | None:
    nodes = one.record.host.numa_nodes if one.record.host else None
    return ", ".join(map(str, nodes)) if nodes else None


def _rise(name: str, measure: str, definition: str) -> Column[_Device]:
    return Column(name, "", definition, lambda one: one.rise(measure))


_COLUMNS: list[Column[_Device]] = [
    Column("node", "", "host", lambda one: one.record.node),
    Column("replica", "", "number of the replica", lambda one: one.record.replica),
    Column("device", "", "device of the replica", lambda one: one.health.device),
    Column(
        "PCIe in use",
        "",
        "highest link of the run; an idle device may lower it",
        lambda one: _link(one.highest("pcie_generation"), one.highest("pcie_width")),
    ),
    Column(
        "PCIe possible",
        "",
        "what device and slot can do together",
        lambda one: _link(one.health.pcie_generation_max, one.health.pcie_width_max),
    ),
    Column(
        "NVLinks up", "", "active before the run", lambda one: one.health.nvlinks_up
    ),
    Column(
        "NVLinks down",
        "",
        "not active before the run",
        lambda one: one.health.nvlinks_down,
    ),
    _rise("NVLink errors", "nvlink_errors", "replays, recoveries and CRC errors"),
    _rise("PCIe replays", "pcie_replays", "packets that were sent again"),
    _rise("ECC corrected", "ecc_corrected", "corrected memory errors in the run"),
    _rise("ECC uncorrected", "ecc_errors", "uncorrected memory errors in the run"),
    Column(
        "remapped rows",
        "",
        "rows of memory that were replaced after uncorrected errors",
        lambda one: one.health.remapped_rows,
    ),
    Column("XID", "", "last fault in the run", lambda one: one.highest("xid")),
    Column(
        "idle SM clock",
        "MHz",
        "before the replica loaded anything",
        lambda one: one.health.idle_sm_clock_mhz,
    ),
    Column(
        "persistence",
        "",
        "whether the driver keeps the state of an idle device",
        lambda one: one.health.persistence_mode,
    ),
    Column("NUMA node", "", "nearest to the device", lambda one: one.health.numa_node),
    Column("NUMA of cores", "", "nodes of the replica's cores", _nodes),
]


def health(run: Run) -> Table:
    """Return a row for each device that was looked at; none on a CPU."""
    lines = DeviceLines(run)
    rows = [
        _Device(lines, record, one) for record in run.replicas for one in record.health
    ]
    return table(_COLUMNS, rows)
