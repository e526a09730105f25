"""The CPU limit that a container or a batch system sets, by control groups.

Both versions of the kernel's interface are read: `cpu.max` of version 2, and
`cpu.cfs_quota_us` with `cpu.cfs_period_us` of version 1. A limit of any group on the
way to the root applies. Source: Linux, Documentation/admin-guide/cgroup-v2.rst and
Documentation/scheduler/sched-bwc.rst.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cpu_quota(mount: Path = _MOUNT, own: Path = _OWN) -> float | None:
    """Return how many cores this process may use at once; None: no limit is known.

    Args:
        mount: where the groups are.
        own: the file that names this process's groups.
    """
    limits = [
        limit
        for group in _groups(mount, own)
        for limit in (_version_2(group), _version_1(group))
        if limit is not None
    ]
    return min(limits, default=None)


def _groups(mount: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups and of those above them.

    A container may see its own group as the root, under the path that it has outside:
    folders that are not there are left out by their readers.
    """
    yield mount
    text = ""
    with contextlib.suppress(OSError):
        text = own.read_text()
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        roots = {mount / controllers, mount / "cpu"} if controllers else {mount}
        below = PurePosixPath(path.lstrip("/"))
        for root in roots:
            for part in (below, *below.parents):
                yield root / part


def _version_2(group: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        limit, period = (group / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    return None


def _version_1(group: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        limit = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
        return limit / period if limit > 0 else None
    return None
