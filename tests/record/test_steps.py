from pathlib import Path

import numpy as np
import pytest

from record.folder import RecordError, RunFolder
from record.steps import HEADER_BYTES, STEP, header, read_steps
from record.writer import RecordWriter


def _steps(count: int) -> np.ndarray:
    steps = np.zeros(count, STEP)
    steps["start_ns"] = np.arange(count) * 1000
    steps["duration_ns"] = 900
    steps["kv_blocks_free"] = -1
    steps["replica"] = np.arange(count) % 3
    return steps


def _written(tmp_path: Path, count: int) -> Path:
    folder = RunFolder(tmp_path)
    with RecordWriter(folder, steps=True) as writer:
        for part in np.array_split(_steps(count), 4):
            writer.steps(part.tobytes())
    assert writer.failure is None
    return folder.steps


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert (read_steps(_written(tmp_path, 1000)) == _steps(1000)).all()


def test_a_run_without_steps_has_no_file(tmp_path: Path) -> None:
    with RecordWriter(RunFolder(tmp_path)):
        pass
    assert not RunFolder(tmp_path).steps.exists()


def test_a_run_that_made_no_step(tmp_path: Path) -> None:
    with RecordWriter(RunFolder(tmp_path), steps=True):
        pass
    assert len(read_steps(RunFolder(tmp_path).steps)) == 0


@pytest.mark.parametrize("cut", [1, STEP.itemsize - 1])
def test_a_record_that_was_cut_off_is_left_out(tmp_path: Path, cut: int) -> None:
    path = _written(tmp_path, 10)
    path.write_bytes(path.read_bytes()[:-cut])
    assert (read_steps(path) == _steps(9)).all()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "its header is cut off"),
        (header()[:-1], "its header is cut off"),
        (b"\0" * 600, "not a file of engine steps"),
        (b"[" * 600, "not a file of engine steps"),
        (header().replace(b'sion": 1', b'sion": 2'), "version 2 of the format, not 1"),
        (header().replace(b"u4", b"u2"), "not a file of engine steps"),
    ],
)
def test_another_header(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "steps.bin"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=problem):
        read_steps(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("duration_ns", -1),
        ("start_ns", -5),
        ("kv_blocks_free", -2),
        ("start_ns", 2**63 - 1),
        ("duration_ns", 2**62),
    ],
)
def test_values_that_no_step_has(tmp_path: Path, name: str, value: int) -> None:
    steps = _steps(9)
    steps[name][7] = value
    path = tmp_path / "steps.bin"
    path.write_bytes(header() + steps.tobytes())
    with pytest.raises(RecordError, match=rf"record 7: {name} is {value}"):
        read_steps(path)


def test_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"steps\.bin: No such file"):
        read_steps(tmp_path / "steps.bin")


def test_the_header_describes_the_records() -> None:
    head = header()
    assert len(head) == HEADER_BYTES
    assert head.endswith(b" \n")
    assert STEP.itemsize == 40, "docs/steps.md and --help say so"
