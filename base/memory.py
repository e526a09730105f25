"""Memory: how much this process may still take, and rare garbage collections."""

import gc
import mmap
import os
import resource
from pathlib import Path

from base.errors import UserError

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


_MIB = 1 << 20
_LIBRARIES_BYTES = 350 * _MIB
_THREAD_BYTES = 82 * _MIB
"""Address space of a thread of NumPy's OpenBLAS and one of SciPy's: 8 MiB of stack and
a buffer of 32 MiB each, and what surrounds them. Both start a thread for each core."""
_MOST_THREADS = 64


def check_address_space() -> None:
    """Refuse a limit of the address space that the imported libraries exceed.

    OpenBLAS never gives up: without the space for its buffers, `import numpy` asks for
    them again for ever, and no signal handler of Python runs meanwhile.

    Raises:
        UserError: `ulimit -v` is too low.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    threads = min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    need = _LIBRARIES_BYTES + threads * _THREAD_BYTES
    try:
        mmap.mmap(-1, need).close()
    except (OSError, MemoryError):
        raise UserError(
            f"the address space is limited to {limit // _KIB:,} KiB (ulimit -v), and"
            f" the libraries for {threads} cores take {need // _KIB:,} KiB of it; raise"
            " the limit, or use fewer cores (taskset)"
        ) from None
