from pathlib import Path

import pytest

from record.folder import RunFolder, read_lines
from record.structs import EventRecord, SampleRecord
from record.writer import RecordWriter
from tests.run_folder import sample


def test_everything_is_written_before_close_returns(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with RecordWriter(folder) as writer:
        for seq in range(1000):
            writer.sample(sample(seq))
        writer.event(EventRecord(t_ns=1, kind="retry", cause="test"))
    written: list[SampleRecord] = list(read_lines(folder.samples, SampleRecord))
    assert [s.seq for s in written] == list(range(1000))
    assert len(list(read_lines(folder.events, EventRecord))) == 1
    assert writer.failure is None


def test_a_full_disk_is_noticed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.samples.symlink_to("/dev/full")
    with RecordWriter(folder) as writer:
        writer.sample(sample(0))
    assert writer.failure is not None
    assert "No space left" in str(writer.failure)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        RecordWriter(RunFolder(tmp_path / "none"))
