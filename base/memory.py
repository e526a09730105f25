"""Memory: how much this process may still take, and rare garbage collections."""

import gc
from pathlib import Path

_THRESHOLD = 100_000
"""New containers until a collection; objects made per sample are not counted."""


def spare_garbage_collector() -> None:
    """Exclude all present objects from collections, and make collections rare.

    A full collection walks over every object: with a few hundred thousand it would
    stop all threads for tens of milliseconds in the middle of a run.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)


_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_KIB = 1024


def available_bytes(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Return the bytes that can be taken without swapping; None if that is not known.

    The host's free memory, or what the container's limit leaves, whichever is less.

    Args:
        meminfo: the kernel's /proc/meminfo.
        group: the folder of this process's cgroup, version 2.
    """
    left = [_of_host(meminfo), _of_group(group)]
    return min((size for size in left if size is not None), default=None)


def _of_host(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * _KIB
    except (OSError, ValueError, IndexError):
        pass
    return None


def _of_group(group: Path) -> int | None:
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        return None if limit == "max" else max(0, int(limit) - used)
    except (OSError, ValueError):
        return None
