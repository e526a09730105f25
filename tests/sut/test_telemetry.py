import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pynvml
import pytest

from record.devices import DeviceUse
from sut import telemetry
from sut.telemetry import DeviceMonitor, HostMonitor
from sut.wire.messages import DeviceReading, HostReading


@pytest.mark.integration
def test_host_readings() -> None:
    monitor = HostMonitor()
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
    reading = monitor.read()
    assert reading.process_cpu_pct is not None
    assert reading.process_cpu_pct > 1
    assert reading.host_cpu_pct is not None
    assert 0 <= reading.host_cpu_pct <= 100
    assert reading.steal_pct is not None
    assert 0 <= reading.steal_pct <= 100


def _thread(threads: Path, number: int, status: bytes) -> None:
    folder = threads / str(number)
    folder.mkdir(parents=True)
    (folder / "status").write_bytes(status)


def test_switches_of_all_threads_are_added(tmp_path: Path) -> None:
    for number, count in ((1, 30), (2, 12)):
        _thread(
            tmp_path,
            number,
            b"Name:\t\xff\nvoluntary_ctxt_switches:\t5\n"
            b"nonvoluntary_ctxt_switches:\t%d\nx86_Thread_features:\t\n" % count,
        )
    assert telemetry._switches(tmp_path) == 42


@pytest.mark.parametrize(
    "status", [b"Name:\tpython\nState:\tS\n", b"nonvoluntary_ctxt_switches:\n", b""]
)
def test_switches_that_the_kernel_does_not_count_are_none(
    tmp_path: Path, status: bytes
) -> None:
    assert telemetry._switches(tmp_path) is None
    _thread(tmp_path, 1, status)
    assert telemetry._switches(tmp_path) is None


def test_a_thread_that_ends_meanwhile_is_left_out(tmp_path: Path) -> None:
    _thread(tmp_path, 1, b"nonvoluntary_ctxt_switches:\t7\n")
    (tmp_path / "2").mkdir()
    (tmp_path / "2/status").symlink_to(tmp_path / "gone")
    assert telemetry._switches(tmp_path) == 7


def _fail(*_arguments: object) -> None:
    raise OSError(24, "Too many open files", "/proc/stat")


def test_what_cannot_be_read_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor, device = HostMonitor(), DeviceMonitor([])
    for name in ("cpu_times", "virtual_memory"):
        monkeypatch.setattr(psutil, name, _fail)
    for name in ("cpu_percent", "memory_info"):
        monkeypatch.setattr(psutil.Process, name, _fail)
    monkeypatch.setattr(telemetry, "_thread_switches", _fail)
    nothing = HostReading(None, None, None, None)
    assert monitor.read() == nothing
    assert device.read() == [DeviceReading(device="cpu")]
    monkeypatch.setattr(psutil, "Process", _fail)
    assert HostMonitor().read() == nothing
    assert DeviceMonitor([]).read() == [DeviceReading(device="cpu")]


def test_kinds_of_time_that_a_kernel_lacks_count_as_none_spent() -> None:
    before = SimpleNamespace(user=1.0, nice=0.0, system=1.0, idle=1.0)
    now = SimpleNamespace(user=2.0, nice=0.0, system=1.0, idle=4.0)
    assert telemetry._host_shares(before, now) == (25.0, 0.0)
    assert telemetry._host_shares(now, now) is None


def test_a_number_that_a_gpu_does_not_have_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [n for n in dir(pynvml) if n.startswith("nvmlDeviceGet")]:
        monkeypatch.setattr(pynvml, name, _fail)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", str)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerUsage", lambda _: 2**32 - 1)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEccErrors", lambda *_: 2**64 - 1)
    assert DeviceMonitor(["0"]).read() == [DeviceReading(device="gpu0")]


def test_a_cpu_has_no_limits() -> None:
    assert DeviceMonitor([]).limits() == []


def test_use_of_a_gpu_leaves_out_what_the_driver_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def memory(handle: str, version: int | None = None) -> SimpleNamespace:
        kept = 0 if version == pynvml.nvmlMemory_v2 else 644_939_776
        return SimpleNamespace(total=150_754_820_096, used=724_369_408 + kept)

    def utilization(handle: str) -> SimpleNamespace:
        return SimpleNamespace(gpu=31)

    def not_reported(*arguments: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    for name in [n for n in dir(pynvml) if n.startswith("nvmlDeviceGet")]:
        monkeypatch.setattr(pynvml, name, not_reported)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", str)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", memory)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", utilization)
    monitor = DeviceMonitor(["1"])
    expected = DeviceUse(
        device="gpu1", memory_used_bytes=724_369_408, utilization_pct=31.0
    )
    assert monitor.use() == [expected]
    assert DeviceMonitor([]).use() == []


def test_the_driver_is_reported_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", str)
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: "580.159.04")
    assert DeviceMonitor(["0"]).driver() == {"driver": "580.159.04"}
    assert DeviceMonitor([]).driver() == {}
