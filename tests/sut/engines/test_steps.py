import threading
from pathlib import Path

import numpy as np
import pytest

from record.steps import STEP, Steps
from sut.engines import steps as module
from sut.engines.steps import StepRing


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAPACITY", 8)


def _append(ring: StepRing, *numbers: int) -> None:
    for number in numbers:
        ring.append(number, 2, 3, 4, 5, 6, 7, 8)


def _drained(ring: StepRing) -> tuple[list[int], int]:
    data, missing = ring.drain()
    return np.frombuffer(data, STEP)["start_ns"].tolist(), missing


def test_fields_come_out_as_they_went_in() -> None:
    ring = StepRing()
    ring.append(1, 2, 3, 4, 5, 6, -1, 8)
    ring.append(1, 2, 2**40, 2**40, 2**40, 2**40, 7, 2**40)
    steps: Steps = np.frombuffer(ring.drain()[0], STEP)
    assert steps[0].tolist() == (1, 2, 3, 4, 5, 6, -1, 0, 8)
    most = 2**32 - 1
    assert steps[1].tolist() == (1, 2, most, most, most, most, 7, 0, 2**16 - 1)


def test_each_record_comes_once_also_around_the_end() -> None:
    ring = StepRing()
    got: list[int] = []
    for begin in range(0, 60, 3):
        _append(ring, *range(begin, begin + 3))
        numbers, missing = _drained(ring)
        got += numbers
        assert not missing
    assert got == list(range(60))
    assert _drained(ring) == ([], 0)


def test_what_was_overwritten_is_counted() -> None:
    ring = StepRing()
    _append(ring, *range(20))
    # The slot of the oldest may be about to be overwritten: it does not count.
    assert _drained(ring) == (list(range(13, 20)), 13)
    _append(ring, 20)
    assert _drained(ring) == ([20], 0)


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    reader = StepRing(tmp_path / "ring")
    writer = StepRing(tmp_path / "ring")
    (tmp_path / "ring").unlink()
    _append(writer, 1, 2)
    assert _drained(reader) == ([1, 2], 0)
    assert (tmp_path / "ring").exists() is False


def test_a_reader_beside_a_writer_sees_whole_records() -> None:
    ring, count = StepRing(), 20_000
    stop = threading.Event()

    def write() -> None:
        for number in range(1, count + 1):
            ring.append(number, number, number, number, number, number, number, 0)
        stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    last = seen = lost = 0
    while True:
        ended = stop.is_set()
        data, missing = ring.drain()
        steps = np.frombuffer(data, STEP)
        lost += missing
        seen += len(steps)
        if len(steps):
            assert (steps["start_ns"] == steps["waiting"]).all()
            assert (np.diff(steps["start_ns"]) == 1).all()
            assert steps["start_ns"][0] > last
            last = int(steps["start_ns"][-1])
        if ended:
            break
    thread.join()
    assert seen + lost == count
