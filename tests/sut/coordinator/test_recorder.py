from pathlib import Path

import pytest

from record.folder import RunFolder, read_lines
from record.structs import EngineLine, HostLine, TelemetryLine
from record.writer import RecordWriter
from sut.clock import RunClock
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica
from sut.wire.messages import Heartbeat, HostReading

READING = HostReading(50.0, 60.0, 0.0, 7)


def _lines(tmp_path: Path, beats: int) -> list[TelemetryLine]:
    """Return the telemetry of a replica's heartbeats, which come 2 s apart."""
    folder, now = RunFolder(tmp_path), [0]
    clock = RunClock(lambda: now[0], lambda: now[0])
    replica = Replica(0, "n1", "replica-0")
    with RecordWriter(folder) as writer:
        recorder = RunRecorder(writer, clock)
        for _ in range(beats):
            now[0] += 2_000_000_000
            recorder.heartbeat(replica, Heartbeat(0.0, 3, 1, None, [], READING))
    return list(read_lines(folder.telemetry, TelemetryLine))


def test_the_coordinators_host_is_read_beside_the_replicas(tmp_path: Path) -> None:
    lines = _lines(tmp_path, beats=2)
    assert [line.replica for line in lines if isinstance(line, HostLine)] == [
        *(0, None),
        *(0, None),
    ]
    assert [line.t_ns for line in lines if isinstance(line, EngineLine)] == [
        2_000_000_000,
        4_000_000_000,
    ]


@pytest.mark.parametrize("call", ["__init__", "read"])
def test_a_host_that_cannot_be_read_ends_no_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    call: str,
) -> None:
    def fails(_monitor: object) -> None:
        raise OSError(24, "Too many open files", "/proc/stat")

    monkeypatch.setattr(f"sut.telemetry.HostMonitor.{call}", fails)
    lines = _lines(tmp_path, beats=3)
    assert [line.replica for line in lines] == [0] * 6, "those of the replica are there"
    shown = capsys.readouterr().err
    assert shown.count("no telemetry of the coordinator's host") == 1
    assert "Too many open files" in shown
