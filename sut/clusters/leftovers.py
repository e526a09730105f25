"""Finds and removes what a killed process group would leave behind."""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

_SHARED_MEMORY = "/dev/shm/"  # noqa: S108  (where Linux keeps POSIX shared memory)


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
    return {path for pid in members(group) for path in _mapped(pid)}


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
    unused = set(segments)
    if not unused:
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            unused -= _mapped(int(entry.name))
    for path in unused:
        with contextlib.suppress(OSError):
            path.unlink()


def _mapped(pid: int) -> set[Path]:
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        names = (line.partition(_SHARED_MEMORY)[2] for line in lines)
        return {
            Path(_SHARED_MEMORY + name)
            for name in names
            if name and not name.endswith(" (deleted)")
        }
    return set()
