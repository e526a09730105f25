"""`python -m sut.clusters.guard FOLDER`: cleans up after a coordinator that is killed.

Started by a cluster, not by the user. It reads from its standard input, one a line, the
numbers of process groups, negative once a group is gone, and the paths of their shared
memory. When that ends, so did its coordinator: it kills what is left and removes the
shared memory and the run's scratch folder.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where Linux keeps it)
_Segment = tuple[int, int]
"""Device and inode of a segment. Other containers have a /dev/shm of their own, in
which the same inodes exist."""


def kill_group(group: int) -> set[Path]:
    """Kill every process of `group`; return the shared memory that they had mapped.

    An engine core or tensor-parallel worker outlives the process that started it, and
    a killed process does not remove its segments.
    """
    segments = held_memory(group)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    return segments


def held_memory(group: int) -> set[Path]:
    """Return the shared memory that the processes of `group` have mapped."""
    mapped = {segment for pid in members(group) for segment in _mapped(pid)}
    return {path for path in _segments() if _identity(path) in mapped}


def members(group: int) -> list[int]:
    """Return the living processes of `group`."""
    found = []
    for pid in _processes():
        with contextlib.suppress(OSError, ValueError):
            # pid (name) state parent group ...; the name may hold anything.
            stat = Path(f"/proc/{pid}/stat").read_bytes()
            state, _, owner, *_ = stat.rpartition(b")")[2].split()
            if int(owner) == group and state != b"Z":
                found.append(pid)
    return found


def remove_unused(segments: Iterable[Path]) -> None:
    """Unlink those segments of shared memory that no process has mapped."""
    unused = {key: path for path in segments if (key := _identity(path)) is not None}
    if not unused:
        return
    for pid in _processes():
        for segment in _mapped(pid):
            unused.pop(segment, None)
    for path in unused.values():
        with contextlib.suppress(OSError):
            path.unlink()


def _processes() -> list[int]:
    with contextlib.suppress(OSError):
        names = [entry.name for entry in Path("/proc").iterdir()]
        return [int(name) for name in names if name.isdigit()]
    return []


def _mapped(pid: int) -> set[_Segment]:
    """Return the segments of shared memory that a process has mapped."""
    segments = set()
    with contextlib.suppress(OSError):
        lines = _maps_of(pid).read_bytes().splitlines()
        for line in lines:
            if bytes(_SHARED_MEMORY) not in line:
                continue
            # By number: a semaphore is mapped under a name that it has only while it
            # is made.
            with contextlib.suppress(ValueError):
                # address permissions offset device inode path
                _, _, _, device, inode, _ = line.split(maxsplit=5)
                major, minor = device.split(b":")
                number = os.makedev(int(major, 16), int(minor, 16))
                segments.add((number, int(inode)))
    return segments


def _maps_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/maps")


def _segments() -> list[Path]:
    with contextlib.suppress(OSError):
        return list(_SHARED_MEMORY.iterdir())
    return []


def _identity(path: Path) -> _Segment | None:
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


WAIT_S = 10.0
"""Longest that it waits for what it killed to be gone."""


def main() -> None:
    """Wait for the end of the coordinator, then clean up."""
    # A terminal's Ctrl-C and a job's SIGTERM are for the coordinator.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    segments: set[Path] = set()
    for line in map(os.fsdecode, map(bytes.rstrip, sys.stdin.buffer)):
        if line.startswith("/"):
            segments.add(Path(line))
        elif line.startswith("-"):
            groups.discard(int(line[1:]))
        else:
            groups.add(int(line))
    for group in groups:
        segments |= kill_group(group)
    deadline = time.monotonic() + WAIT_S
    while any(members(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.02)
    remove_unused(segments)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
