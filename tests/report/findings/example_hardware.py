"""A run whose devices, links and cores have faults of every kind."""

from pathlib import Path
from typing import Any

from record.devices import DeviceHealth, HostHealth
from record.structs import DeviceLine
from report.reading.run import Run
from tests.report.findings.examples import run_of
from tests.run_folder import START_NS, good_spec, replica_record

SECOND = 1_000_000_000
CODES = (
    "xid",
    "ecc.corrected",
    "memory.rows",
    "nvlink.errors",
    "nvlink.down",
    "pcie.link",
    "pcie.replays",
    "persistence",
    "numa",
    "numa.memory",
    "numa.binding",
    "isolated",
    "quota",
)
GOOD: dict[str, Any] = {
    "persistence_mode": True,
    "numa_node": 0,
    "pcie_generation_max": 5,
    "pcie_width_max": 16,
    "nvlinks_up": 18,
    "nvlinks_down": 0,
    "idle_sm_clock_mhz": 345,
    "remapped_rows": 0,
    "remap_pending": False,
    "remap_failed": False,
}
BAD: dict[str, Any] = {
    "persistence_mode": False,
    "numa_node": 1,
    "nvlinks_up": 17,
    "nvlinks_down": 1,
    "remapped_rows": 3,
    "remap_pending": True,
}


def hardware_run(
    path: Path,
    health: dict[str, Any],
    host: HostHealth,
    readings: dict[str, list[int]],
    *,
    bound: bool = True,
) -> Run:
    """Return a run whose replica 1 is in this state; replica 0 is healthy.

    Args:
        path: folder to write.
        health: fields of the state before the run that are not good.
        host: state of its cores.
        readings: values of telemetry, a second each; the healthy device has the first.
        bound: whether its memory is bound to a NUMA node.
    """
    spec = good_spec(400)
    spec.records = [replica_record(0), replica_record(1)]
    for number, record in enumerate(spec.records):
        own = GOOD | health if number else GOOD
        record.health = [DeviceHealth(device=f"gpu{number}", **own)]
        record.memory_node = 0 if bound or not number else None
        record.host = host if number else HostHealth(numa_nodes=[0], isolated_cpus=0)
    link: dict[str, Any] = {"pcie_generation": 5, "pcie_width": 16}
    link["utilization_pct"] = 99.0
    seconds = max((len(values) for values in readings.values()), default=1)
    for second in range(seconds):
        for number in range(2):
            changed = {
                name: values[min(second, len(values) - 1)]
                for name, values in readings.items()
                if number
            }
            spec.telemetry.append(
                DeviceLine(
                    t_ns=START_NS + (1 + second) * SECOND,
                    node="n1",
                    replica=number,
                    device=f"gpu{number}",
                    **(link | changed),
                )
            )
    return run_of(path, spec)


def poor_hardware(path: Path) -> Run:
    """Return a run whose replica 1 has every fault."""
    return hardware_run(
        path,
        BAD,
        HostHealth(
            numa_nodes=[0],
            isolated_cpus=1,
            cpu_quota=0.5,
            memory_bytes={0: 3_000_000_000, 1: 7_000_000_000},
        ),
        {
            "xid": [63, 94],
            "ecc_corrected": [4, 6],
            "nvlink_errors": [10, 12],
            "pcie_replays": [0, 5],
            "pcie_width": [8, 8],
        },
        bound=False,
    )
