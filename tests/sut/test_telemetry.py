import time
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from record.structs import DeviceUse
from sut import telemetry
from sut.telemetry import DeviceMonitor, HostMonitor


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


def test_switches_of_all_threads_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for thread, count in ((1, 30), (2, 12)):
        folder = tmp_path / "77/task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "status").write_text(
            f"voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t{count}\n"
        )
    monkeypatch.setattr(
        telemetry, "Path", lambda path: Path(str(path).replace("/proc", str(tmp_path)))
    )
    assert telemetry._switches(77) == 42


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

    def not_told(*arguments: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    for name in [n for n in dir(pynvml) if n.startswith("nvmlDeviceGet")]:
        monkeypatch.setattr(pynvml, name, not_told)
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


def test_the_driver_is_told_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", str)
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: "580.159.04")
    assert DeviceMonitor(["0"]).driver() == {"driver": "580.159.04"}
    assert DeviceMonitor([]).driver() == {}
