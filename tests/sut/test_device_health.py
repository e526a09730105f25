from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from record.devices import DeviceHealth, HostHealth
from sut.device_health import HealthCounters, device_health, host_health
from sut.telemetry import DeviceMonitor

BUS = b"00000000:3B:00.0"


def _not_supported(*_arguments: object) -> None:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


class FakeNvml:
    """A GPU whose readings a test sets; all others are not supported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in dir(pynvml):
            if name.startswith(("nvmlDevice", "nvmlEvent", "nvmlSystem")):
                monkeypatch.setattr(pynvml, name, _not_supported)
        monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
        self._patch = monkeypatch

    def set(self, **values: object) -> None:
        for name, value in values.items():

            def answer(*_arguments: object, value: object = value) -> object:
                return value

            self._patch.setattr(pynvml, f"nvmlDeviceGet{name}", answer)

    def replace(self, name: str, function: object) -> None:
        self._patch.setattr(pynvml, name, function)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    return FakeNvml(monkeypatch)


def test_the_health_of_a_gpu_is_read(nvml: FakeNvml, tmp_path: Path) -> None:
    device = tmp_path / "0000:3b:00.0"
    device.mkdir()
    (device / "numa_node").write_text("1\n")
    nvml.set(
        PersistenceMode=0,
        PciInfo=SimpleNamespace(busId=BUS),
        MaxPcieLinkGeneration=5,
        MaxPcieLinkWidth=16,
        ClockInfo=345,
        RemappedRows=(0, 2, 1, 0),
        TotalEccErrors=3,
    )

    def state(_handle: object, number: int) -> int:
        if number >= 18:
            _not_supported()
        return int(number != 4)

    nvml.replace("nvmlDeviceGetNvLinkState", state)
    assert device_health("gpu0", "handle", tmp_path) == DeviceHealth(
        device="gpu0",
        persistence_mode=False,
        numa_node=1,
        pcie_generation_max=5,
        pcie_width_max=16,
        nvlinks_up=17,
        nvlinks_down=1,
        idle_sm_clock_mhz=345,
        ecc_uncorrected_lifetime=3,
        remapped_rows=2,
        remap_pending=True,
        remap_failed=False,
    )


def test_what_a_gpu_does_not_report_is_none(nvml: FakeNvml) -> None:
    assert device_health("gpu0", "handle") == DeviceHealth(device="gpu0")
    assert device_health("gpu1", None) == DeviceHealth(device="gpu1")
    counters = HealthCounters("handle")
    assert set(counters.read().values()) == {None}


def test_a_node_that_the_kernel_does_not_know_is_none(
    nvml: FakeNvml, tmp_path: Path
) -> None:
    nvml.set(PciInfo=SimpleNamespace(busId=BUS.decode()))
    (tmp_path / "0000:3b:00.0").mkdir()
    (tmp_path / "0000:3b:00.0/numa_node").write_text("-1\n")
    assert device_health("gpu0", "handle", tmp_path).numa_node is None


def test_counters_of_links_are_read_every_ten_readings(nvml: FakeNvml) -> None:
    nvml.set(CurrPcieLinkGeneration=4, CurrPcieLinkWidth=16, PcieReplayCounter=7)

    def errors(_handle: object, link: int, _kind: int) -> int:
        if link >= 2:
            _not_supported()
        return 5

    nvml.replace("nvmlDeviceGetNvLinkErrorCounter", errors)
    counters = HealthCounters("handle")
    readings = [counters.read() for _ in range(11)]
    # Two links with three kinds of errors.
    assert [r["nvlink_errors"] for r in readings] == [30, *[None] * 9, 30]
    assert [r["pcie_replays"] for r in readings] == [7, *[None] * 9, 7]
    assert {r["pcie_width"] for r in readings} == {16}


def test_the_last_xid_is_kept(nvml: FakeNvml) -> None:
    events = [SimpleNamespace(eventData=94), SimpleNamespace(eventData=79)]

    def wait(_events: object, timeout_ms: int) -> SimpleNamespace:
        assert timeout_ms == 0
        if not events:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
        return events.pop(0)

    nvml.replace("nvmlEventSetCreate", lambda: "events")
    nvml.replace("nvmlDeviceRegisterEvents", lambda *_arguments: None)
    nvml.replace("nvmlEventSetWait_v2", wait)
    counters = HealthCounters("handle")
    assert [counters.read()["xid"] for _ in range(2)] == [79, 79]


def test_a_monitor_records_health_with_each_reading(nvml: FakeNvml) -> None:
    nvml.set(HandleByIndex="handle", CurrPcieLinkWidth=8, PersistenceMode=1)
    monitor = DeviceMonitor(["0"])
    assert monitor.read()[0].pcie_width == 8
    (found,) = monitor.health()
    assert (found.device, found.persistence_mode) == ("gpu0", True)
    assert DeviceMonitor([]).health() == []


def test_the_cores_of_a_replica(tmp_path: Path) -> None:
    for number, cores in enumerate(("0-3\n", "4-7\n")):
        (tmp_path / f"node{number}").mkdir()
        (tmp_path / f"node{number}/cpulist").write_text(cores)
    isolated, quota = tmp_path / "isolated", tmp_path / "cpu.max"
    isolated.write_text("2-3,7\n")
    quota.write_text("250000 100000\n")
    found = host_health([0, 1, 2], tmp_path, isolated, tmp_path)
    assert found == HostHealth(numa_nodes=[0], isolated_cpus=1, cpu_quota=2.5)
    quota.write_text("max 100000\n")
    isolated.write_text("\n")
    found = host_health(range(8), tmp_path, isolated, tmp_path)
    assert found == HostHealth(numa_nodes=[0, 1], isolated_cpus=0)
    nowhere = tmp_path / "none"
    assert host_health([0], nowhere, nowhere, nowhere) == HostHealth(isolated_cpus=0)
