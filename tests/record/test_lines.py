from pathlib import Path

import pytest

from record.errors import RecordError
from record.lines import read_lines
from record.structs import DeviceLine, EngineLine, SampleRecord, TelemetryLine
from tests.run_folder import good_spec, write_folder


def test_round_trip(tmp_path: Path) -> None:
    spec = good_spec(5)
    folder = write_folder(tmp_path / "run", spec)
    assert list(read_lines(folder.samples, SampleRecord)) == spec.samples


def test_telemetry_lines_keep_their_kind(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec(5, replicas=1))
    lines: list[TelemetryLine] = list(read_lines(folder.telemetry, TelemetryLine))
    assert [type(line) for line in lines] == [EngineLine, DeviceLine]


def test_truncated_last_line_is_left_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec(5))
    folder.samples.write_bytes(folder.samples.read_bytes()[:-10])
    assert len(list(read_lines(folder.samples, SampleRecord))) == 4


def test_damaged_line_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec(5))
    lines = folder.samples.read_bytes().splitlines(keepends=True)
    lines[2] = b'{"seq": "x"}\n'
    folder.samples.write_bytes(b"".join(lines))
    with pytest.raises(RecordError, match=r"samples\.jsonl:3: "):
        list(read_lines(folder.samples, SampleRecord))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="No such file"):
        list(read_lines(tmp_path / "samples.jsonl", SampleRecord))
