import errno
import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from sut import scratch
from sut.scratch import Scratch

NOBODY = 2**31 - 1
"""No process has this number here; one of another container may have it there."""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _of_killed(root: Path, boot_id: bytes | None = None) -> Path:
    """Return the folder that a killed process leaves behind."""
    folder = root / f"mlperf-sut-{NOBODY}-abc"
    folder.mkdir()
    (folder / ".lock").write_bytes(scratch._boot_id() if boot_id is None else boot_id)
    (folder / "socket").write_text("of the run")
    return folder


def test_it_is_gone_after_the_block(root: Path) -> None:
    with Scratch() as own:
        assert own.path.parent == root
        (own.path / "file").write_text("temporary")
    assert list(root.iterdir()) == []


def test_a_folder_that_a_killed_process_left_is_removed(root: Path) -> None:
    folder = _of_killed(root)
    with Scratch():
        assert not folder.exists()


def test_the_folder_of_a_live_process_with_an_unknown_number_stays(root: Path) -> None:
    with Scratch() as first:
        elsewhere = first.path.rename(root / f"mlperf-sut-{NOBODY}-abc")
        with Scratch() as second:
            assert elsewhere.exists()
            assert second.path != elsewhere


def test_the_folder_of_another_host_stays(root: Path) -> None:
    folder = _of_killed(root, b"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee")
    with Scratch():
        assert (folder / "socket").exists()


def test_nothing_is_removed_where_hosts_cannot_be_distinguished(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _of_killed(root)
    monkeypatch.setattr(scratch, "_BOOT_ID", root / "none")
    with Scratch():
        assert folder.exists()


def test_without_locks_a_run_goes_on_and_its_folder_is_left_alone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", no_locks)
        first = Scratch()
    with Scratch():
        assert first.path.exists()
    with first:
        pass
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("kind", ["none", "link", "pipe"])
def test_what_has_no_lock_file_is_left_alone(root: Path, kind: str) -> None:
    folder = root / f"mlperf-sut-{NOBODY}-abc"
    folder.mkdir()
    if kind == "link":
        target = root / "target"
        target.write_bytes(scratch._boot_id())
        (folder / ".lock").symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(folder / ".lock")
    with Scratch():
        assert folder.exists()
