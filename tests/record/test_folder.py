import errno
import os
from pathlib import Path
from unittest import mock

import pytest

from record.folder import (
    RecordError,
    RunFolder,
    read_json,
    read_lines,
    write_json,
    write_text,
)
from record.structs import DeviceLine, EngineLine, SampleRecord, TelemetryLine, Verdict
from tests.run_folder import good_spec, write_folder


def test_latest_points_at_the_newest_folder(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    first = RunFolder.create(root, "offline-performance")
    assert first.become_latest() is None
    second = RunFolder.create(root, "offline-performance")
    assert first.path != second.path
    assert (root / "latest").resolve() == first.path.resolve()
    assert second.become_latest() is None
    assert (root / "latest").resolve() == second.path.resolve()
    assert second.path.name.split("Z-")[1].startswith("offline-performance")
    assert sorted(root.iterdir()) == sorted([first.path, second.path, root / "latest"])


def test_a_pipe_in_place_of_a_record_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordError, match="a pipe, not a file"):
        read_json(tmp_path / "pipe", Verdict)
    with pytest.raises(RecordError, match="a pipe, not a file"):
        list(read_lines(tmp_path / "pipe", SampleRecord))


def test_latest_that_is_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    folder = RunFolder.create(tmp_path, "x")
    assert folder.become_latest() == (
        f"{tmp_path}/latest is not a link and was not changed; move it away"
    )
    assert sorted(tmp_path.iterdir()) == [folder.path, tmp_path / "latest"]


def test_a_file_system_without_links_has_no_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_arguments: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    folder = RunFolder.create(tmp_path, "x")
    assert folder.become_latest() == (
        f"{tmp_path}/latest does not point at this run: Operation not permitted"
    )
    assert list(tmp_path.iterdir()) == [folder.path]


def test_a_discarded_folder_leaves_nothing(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x")
    write_json(folder.verdict, {})
    folder.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_json(tmp_path / "verdict.json", {})
    assert list(tmp_path.iterdir()) == []


def test_json_round_trip(tmp_path: Path) -> None:
    verdict = Verdict(
        outcome="passed", degraded=False, submission_candidate=False, relaxed=["a"]
    )
    write_json(tmp_path / "verdict.json", verdict)
    assert read_json(tmp_path / "verdict.json", Verdict) == verdict
    assert [p.name for p in tmp_path.iterdir()] == ["verdict.json"]


def test_damaged_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    path.write_text('{"outcome": 3}')
    with pytest.raises(RecordError, match=r"verdict\.json"):
        read_json(path, Verdict)


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


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        mock.patch.object(Path, "write_text", side_effect=full),
        pytest.raises(OSError, match=r"No space left on device: '.*/sweep\.json'"),
    ):
        write_text(tmp_path / "sweep.json", "{}")
