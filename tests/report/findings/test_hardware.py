from pathlib import Path
from typing import Any

import pytest

from record.devices import HostHealth
from report.content import make_report
from report.findings.hardware import hardware
from tests.report.findings.example_hardware import (
    BAD,
    CODES,
    hardware_run,
    poor_hardware,
)
from tests.report.reading import report_of, rows
from tests.run_folder import good_spec, write_folder

HOST = HostHealth(numa_nodes=[0], isolated_cpus=0)


def test_every_fault_is_named_with_its_replica_and_a_remedy(tmp_path: Path) -> None:
    found = list(hardware(poor_hardware(tmp_path / "run")))
    assert {one.finding.code for one in found} == set(CODES)
    for one in found:
        assert one.finding.where == ["replica 1"]
        assert one.finding.measure
    assert len([one for one in found if one.finding.code == "xid"]) == 2


@pytest.mark.parametrize(
    ("health", "host", "readings", "code"),
    [
        ({}, HOST, {"xid": [79]}, "xid"),
        ({}, HOST, {"ecc_corrected": [1, 2]}, "ecc.corrected"),
        ({"remap_failed": True}, HOST, {}, "memory.rows"),
        ({"remap_pending": True}, HOST, {}, "memory.rows"),
        ({}, HOST, {"nvlink_errors": [0, 1]}, "nvlink.errors"),
        ({"nvlinks_up": 12, "nvlinks_down": 6}, HOST, {}, "nvlink.down"),
        ({}, HOST, {"pcie_generation": [1, 4]}, "pcie.link"),
        ({}, HOST, {"pcie_replays": [3, 9]}, "pcie.replays"),
        ({"persistence_mode": False}, HOST, {}, "persistence"),
        ({"numa_node": 1}, HOST, {}, "numa"),
        ({}, HostHealth(numa_nodes=[0, 1]), {}, "numa"),
        (
            {},
            HostHealth(numa_nodes=[0], memory_bytes={0: 80, 1: 20}),
            {},
            "numa.memory",
        ),
        ({}, HostHealth(numa_nodes=[0], isolated_cpus=1), {}, "isolated"),
        ({}, HostHealth(numa_nodes=[0], cpu_quota=0.5), {}, "quota"),
    ],
)
def test_one_fault_gives_one_finding(
    tmp_path: Path,
    health: dict[str, Any],
    host: HostHealth,
    readings: dict[str, list[int]],
    code: str,
) -> None:
    run = hardware_run(tmp_path / "run", health, host, readings)
    assert [one.finding.code for one in hardware(run)] == [code]


@pytest.mark.parametrize(
    ("health", "readings"),
    [
        ({}, {}),
        # An idle device lowers the generation of its link.
        ({}, {"pcie_generation": [1, 5], "utilization_pct": [0, 99]}),
        ({}, {"pcie_generation": [1], "utilization_pct": [0]}),
        # All links off: the device is used without NVLink.
        ({"nvlinks_up": 0, "nvlinks_down": 18}, {}),
        ({}, {"ecc_corrected": [7, 7], "nvlink_errors": [4, 4]}),
        (dict.fromkeys(BAD), {}),
    ],
)
def test_a_healthy_device_gives_none(
    tmp_path: Path, health: dict[str, Any], readings: dict[str, list[int]]
) -> None:
    run = hardware_run(tmp_path / "run", health, HOST, readings)
    assert list(hardware(run)) == []


def test_little_remote_memory_is_no_finding(tmp_path: Path) -> None:
    host = HostHealth(numa_nodes=[0], memory_bytes={0: 95, 1: 5})
    assert list(hardware(hardware_run(tmp_path / "run", {}, host, {}))) == []


def test_replicas_that_differ_in_their_binding_are_named(tmp_path: Path) -> None:
    run = hardware_run(tmp_path / "run", {}, HOST, {}, bound=False)
    (found,) = hardware(run)
    assert found.finding.code == "numa.binding"
    assert found.finding.where == ["replica 1"]
    assert found.finding.evidence == "n1: 1 of 2 replicas bound."
    for record in run.replicas:
        record.memory_node = None
    assert list(hardware(run)) == [], "they do not differ"


def test_a_run_without_readings_says_nothing(tmp_path: Path) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec()))
    assert rows(report["resources"]["health"]) == []


def test_the_table_shows_state_and_counters(tmp_path: Path) -> None:
    content = make_report([poor_hardware(tmp_path / "run")]).content.plain()
    healthy, poor = rows(content["resources"]["health"])
    assert healthy["PCIe in use"] == healthy["PCIe possible"] == "gen5 x16"
    assert poor["PCIe in use"] == "gen5 x8"
    assert (poor["XID"], poor["NVLink errors"], poor["ECC corrected"]) == (94, 2, 2)
    assert (poor["NUMA node"], poor["NUMA of cores"]) == (1, "0")
    assert poor["persistence"] is False
