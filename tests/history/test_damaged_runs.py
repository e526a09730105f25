"""Runs with missing and damaged files: every command ends in its documented way."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from history.__main__ import main as runs
from history.export.__main__ import main as export
from record.folder import RunFolder, write_json
from record.steps import header
from tests.run_folder import good_spec, write_folder
from tests.watch.live_folder import status
from watch.__main__ import main as watch
from watch.exporter import Exporter
from watch.follow import Follower
from watch.page_data import page_data
from watch.screen import run_lines, run_screen

RUN = "20260101T000000Z-offline-performance"
FILES = (
    "config.yaml",
    "settings.json",
    "replicas.json",
    "verdict.json",
    "status.json",
    "samples.jsonl",
    "events.jsonl",
    "telemetry.jsonl",
    "steps.bin",
    "mlperf_log_detail.txt",
)


def _missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)


def _half(path: Path) -> None:
    data = path.read_bytes() if path.exists() else b'{"a": [1'
    path.write_bytes(data[: len(data) // 2])


def _holds(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    return write


DAMAGE = {
    "missing": _missing,
    "folder": _folder,
    "pipe": _pipe,
    "loop of links": _loop,
    "half": _half,
    "empty": _holds(b""),
    "no text": _holds(b"\xff\xfe\x00{\n" * 50),
    "deep": _holds(b"[" * 100_000 + b"\n"),
    "deep field": _holds(b'{"x": ' + b"[" * 100_000 + b"\n"),
    "another type": _holds(b"[1, null, {}]\n"),
    "large number": _holds(b'{"updated_ns": 1' + b"0" * 400 + b', "pid": -1e999}\n'),
    "null": _holds(b"null\n"),
}
NO_FILE = ("missing", "folder", "pipe", "loop of links")


def _run(path: Path) -> RunFolder:
    """Write a whole run."""
    folder = RunFolder(path)
    write_folder(path, good_spec())
    write_json(folder.status, status(state="finished", outcome="passed"))
    folder.steps.write_bytes(header())
    return folder


@pytest.mark.integration  # takes a second
@pytest.mark.parametrize("kind", DAMAGE)
def test_every_command_ends_in_the_documented_way(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each run has one file that is damaged in this way."""
    root = tmp_path / "runs"
    folders = {}
    for number, name in enumerate(FILES, 1):
        folders[name] = _run(root / f"202601{number:02}T000000Z-offline-performance")
        DAMAGE[kind](folders[name] / name)
    assert runs(["list", str(root), "--json"]) == 0
    assert runs(["list", str(root)]) == 0
    assert runs(["index", str(root)]) == 0
    assert runs(["archive", str(root), str(tmp_path / "a.tar.gz")]) == 0
    capsys.readouterr()
    for name, folder in folders.items():
        out = tmp_path / name
        for target in (["--parquet", str(out)], ["--junit", str(out / "junit.xml")]):
            code = export([str(folder.path), *target])
            error = capsys.readouterr().err
            assert code in (0, 2), error
            assert len(error.splitlines()) == (code == 2), error
        assert not list(out.glob(".*")), "no draft is left"
        if name == "config.yaml" and kind in NO_FILE:
            assert watch([str(folder.path), "--terminal"]) == 2
            capsys.readouterr()
            continue
        follower = Follower(folder.path)
        for _ in range(2):
            follower.refresh()
            page_data(follower)
            run_lines(follower.run)
            run_screen(follower.run)
        exporter = Exporter(folder)
        exporter.refresh()
        assert exporter.text("")[0].endswith(b"\n")
    assert runs(["prune", str(root), "--keep", "0", "--yes"]) == 0
    # Without a verdict it is not known what would be lost.
    stays = {"verdict.json"} | ({"config.yaml"} if kind in NO_FILE else set())
    assert {name for name, one in folders.items() if one.path.exists()} == stays


def test_a_run_that_was_killed_is_not_running_for_ever(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    folder = _run(root / RUN)
    folder.verdict.unlink()
    # The process of this number is not there: Linux has fewer.
    write_json(folder.status, status(pid=2**31 - 1, host=os.uname().nodename))
    follower = Follower(root / RUN)
    follower.refresh()
    assert follower.abandoned
    assert follower.ended
    assert page_data(follower)["state"] == "finished"
    assert watch([str(root), "--terminal"]) == 0
    write_json(folder.status, status(pid=os.getpid(), host=os.uname().nodename))
    follower.refresh()
    assert not follower.abandoned
