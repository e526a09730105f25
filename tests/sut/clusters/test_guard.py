import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from uuid import uuid4

import pytest

from sut.clusters import guard
from sut.clusters.guard import (
    held_memory,
    kill_group,
    members,
    remove_unused,
)
from tests.sut.clusters.contract import running, wait_for

pytestmark = pytest.mark.integration

# A leader with a child that holds shared memory and a semaphore (which glibc maps under
# another name than its own); each prints its process id.
_FAMILY = """
import os, sys, time
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
child = os.fork()
if not child:
    resource_tracker.register = lambda *_: None
    memory = SharedMemory(create=True, size=4096, name=sys.argv[1])
    from _multiprocessing import SemLock
    semaphore = SemLock(1, 1, 1, "/" + sys.argv[1], False)
os.write(1, b"%d\\n" % os.getpid())
time.sleep(600)
"""


class Family:
    """A process group of two, the child with a segment of shared memory."""

    def __init__(self, name: str) -> None:
        self.segment = Path("/dev/shm") / name
        self.semaphore = Path("/dev/shm") / f"sem.{name}"
        self.leader = subprocess.Popen(
            [sys.executable, "-c", _FAMILY, name],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.leader.stdout is not None
        pids = {int(self.leader.stdout.readline()) for _ in range(2)}
        (self.child,) = pids - {self.leader.pid}


@pytest.fixture
def family() -> Iterator[Family]:
    family = Family(f"sut-test-{uuid4()}")
    yield family
    if members(family.leader.pid):
        os.killpg(family.leader.pid, signal.SIGKILL)
    family.leader.communicate()
    for path in (family.segment, family.semaphore):
        path.unlink(missing_ok=True)


def test_a_group_is_found_and_killed_whole(family: Family) -> None:
    group = family.leader.pid
    assert sorted(members(group)) == sorted([group, family.child])
    assert kill_group(group) == {family.segment, family.semaphore}
    wait_for(lambda: not members(group), "the end")
    assert not running(family.child)


def test_a_child_that_outlives_its_leader_is_killed(family: Family) -> None:
    group = family.leader.pid
    family.leader.kill()
    family.leader.wait()
    assert members(group) == [family.child]
    segments = kill_group(group)
    wait_for(lambda: not members(group), "the end")
    remove_unused(segments)
    assert not family.segment.exists()
    assert not family.semaphore.exists()


def test_a_process_whose_name_is_no_text_is_found() -> None:
    code = (
        "import ctypes, time;"
        "ctypes.CDLL(None).prctl(15, b'\\xff) Z 1', 0, 0, 0);"
        "print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert members(process.pid) == [process.pid]
        kill_group(process.pid)
        process.wait(20)


def test_memory_of_the_same_number_elsewhere_is_not_taken_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: Family
) -> None:
    """Another container's /dev/shm has the same inodes on another device."""
    stat = family.segment.stat()
    maps = tmp_path / "maps"
    other = os.makedev(os.major(stat.st_dev), os.minor(stat.st_dev) + 1)
    for device, found in ((other, set()), (stat.st_dev, {family.segment})):
        numbers = f"{os.major(device):02x}:{os.minor(device):02x} {stat.st_ino}"
        maps.write_text(
            f"7f00-7f01 rw-s 00000000 {numbers} /dev/shm/x y\n"
            "7f00-7f01 rw-s /dev/shm/cut short\n"
            "7f00-7f01 rw-s 00000000 what:ever 5 /dev/shm/x\n"
        )
        with monkeypatch.context() as patch:
            patch.setattr(guard, "members", lambda _group: [1])
            patch.setattr(guard, "_maps_of", lambda _pid: maps)
            assert held_memory(1) == found


def test_memory_that_somebody_uses_stays(family: Family) -> None:
    memory = SharedMemory(name=family.segment.name)
    segments = kill_group(family.leader.pid)
    family.leader.wait()
    remove_unused(segments)
    assert family.segment.exists()
    memory.close()
    remove_unused(segments)
    assert not family.segment.exists()
    memory.unlink = lambda: None  # type: ignore[method-assign]


def test_a_group_that_is_gone_is_nothing_to_kill(family: Family) -> None:
    kill_group(family.leader.pid)
    family.leader.wait()
    wait_for(lambda: not members(family.leader.pid), "the end")
    assert kill_group(family.leader.pid) == set()


class Guard:
    """A guard of a scratch folder."""

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir()
        (scratch / "file").write_text("temporary")
        self.scratch = scratch
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sut.clusters.guard", str(scratch)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, message: str) -> None:
        """Tell it this, and then let its coordinator be gone."""
        self.process.communicate(message, timeout=20)
        assert self.process.returncode == 0


def test_a_guard_cleans_up_when_its_coordinator_is_gone(
    tmp_path: Path, family: Family
) -> None:
    guard = Guard(tmp_path / "scratch")
    wait_for(lambda: _ignores(guard.process.pid, signal.SIGTERM), "its start")
    os.kill(guard.process.pid, signal.SIGTERM)
    guard.end(f"{family.leader.pid}\n")
    assert not running(family.child)
    assert not family.segment.exists()
    assert not guard.scratch.exists()


def test_a_guard_removes_memory_that_it_was_given(
    tmp_path: Path, family: Family
) -> None:
    guard = Guard(tmp_path / "scratch")
    kill_group(family.leader.pid)
    family.leader.wait()
    wait_for(lambda: not members(family.leader.pid), "the end")
    assert family.segment.exists()
    guard.end(f"{family.segment}\n")
    assert not family.segment.exists()


def test_a_guard_leaves_alone_what_is_gone_by_its_coordinators_word(
    tmp_path: Path, family: Family
) -> None:
    Guard(tmp_path / "scratch").end(f"{family.leader.pid}\n-{family.leader.pid}\n")
    assert running(family.child)
    assert family.leader.poll() is None


def _ignores(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [line for line in status.splitlines() if line.startswith("SigIgn")]
    return bool(int(mask.split()[1], 16) & 1 << number - 1)
