import time
from pathlib import Path

import pytest

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
