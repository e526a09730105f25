import threading
import time
from pathlib import Path

import pytest

from base.barrier import Barrier, wait_for_others
from base.errors import Aborted


def _nothing() -> None:
    return


def test_a_run_of_no_group_does_not_wait() -> None:
    begin = time.monotonic()
    wait_for_others(_nothing)
    assert time.monotonic() - begin < 0.05


def _child(
    barrier: Barrier, name: str, monkeypatch: pytest.MonkeyPatch, ends: list[float]
) -> threading.Thread:
    """Start a thread that waits as the child `name`."""
    [(variable, value)] = barrier.environment(name).items()
    monkeypatch.setenv(variable, value)
    entered = threading.Event()

    def wait() -> None:
        try:
            wait_for_others(entered.set)
        except Aborted:
            ends.append(0.0)
        else:
            ends.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    # The variable is read, and removed, before the first update.
    assert entered.wait(5)
    return thread


def test_all_go_on_at_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("base.barrier._AHEAD_NS", 200_000_000)
    barrier, ends = Barrier(tmp_path, ["a", "b"]), list[float]()
    threads = [_child(barrier, "a", monkeypatch, ends)]
    barrier.update([None, None])
    assert not (tmp_path / "go").exists()
    threads.append(_child(barrier, "b", monkeypatch, ends))
    barrier.update([None, None])
    for thread in threads:
        thread.join(5)
    assert len(ends) == 2
    assert abs(ends[0] - ends[1]) < 0.1


def test_nobody_waits_for_one_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier, ends = Barrier(tmp_path, ["a", "b"]), list[float]()
    thread = _child(barrier, "a", monkeypatch, ends)
    barrier.update([None, 2])
    thread.join(5)
    assert ends == [0.0]


def test_the_end_of_a_run_after_the_start_changes_nothing(tmp_path: Path) -> None:
    barrier = Barrier(tmp_path, ["a", "b"])
    for name in ("a", "b"):
        (tmp_path / f"{name}.ready").touch()
    barrier.update([None, None])
    barrier.update([0, None])
    assert not (tmp_path / "cancelled").exists()
