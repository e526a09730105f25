"""How much memory this process may still take."""

from pathlib import Path

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
