"""Finds and removes what a killed process group would leave behind."""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where Linux keeps it)


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
    inodes = {inode for pid in members(group) for inode in _mapped(pid)}
    return {path for path in _segments() if _inode(path) in inodes}


def members(group: int) -> list[int]:
    """Return the living processes of `group`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # pid (name) state parent group ...; the name may hold anything.
            state, _, owner, *_ = (
                (entry / "stat").read_text().rpartition(")")[2].split()
            )
            if int(owner) == group and state != "Z":
                found.append(int(entry.name))
    return found


def remove_unused(segments: Iterable[Path]) -> None:
    """Unlink those segments of shared memory that no process has mapped."""
    unused = {inode: path for path in segments if (inode := _inode(path)) is not None}
    if not unused:
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for inode in _mapped(int(entry.name)):
                unused.pop(inode, None)
    for path in unused.values():
        with contextlib.suppress(OSError):
            path.unlink()


def _mapped(pid: int) -> set[int]:
    """Return the inodes of the shared memory that a process has mapped."""
    # By number: a semaphore is mapped under a name that it has only while it is made.
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        # address permissions offset device inode path
        return {int(line.split()[4]) for line in lines if str(_SHARED_MEMORY) in line}
    return set()


def _segments() -> list[Path]:
    with contextlib.suppress(OSError):
        return list(_SHARED_MEMORY.iterdir())
    return []


def _inode(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return path.stat().st_ino
    return None
