"""Memory: how much this process may still take, and rare garbage collections."""

import gc
from pathlib import Path

_THRESHOLD = 100_000
"""New containers until a collection; objects of samples are not counted."""


def spare_garbage_collector() -> None:
    """Exclude all present objects from collections, and make collections rare.

    A full collection visits every object. With a few hundred thousand objects it would
    stop all threads for tens of milliseconds during a run.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_THRESHOLD)


_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_KIB = 1024


def available_bytes(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Return the bytes that are available without swapping; None if not known.

    This is the host's available memory or the rest of the container's limit, whichever
    is less.

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
