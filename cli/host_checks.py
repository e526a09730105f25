"""Checks of the host that need no GPU: cores, memory, files, clock, ports.

Each check takes what it reads as an argument, so that a test can plant a fault.
"""

import contextlib
import ctypes
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from base.decode import whole_number
from base.memory import available_bytes
from cli.diagnosis import Diagnosis, bad, good, warning
from sut.cgroups import cpu_quota

_GIB = 1 << 30
_CPUS = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")
_SHM = Path("/dev/shm")  # noqa: S108  (its size is read)
_FEWEST_FILES = 4096
_ENOUGH_FILES = 65_536
_FEWEST_THREADS = 4096
"""An engine with its libraries starts a few for each core of the host."""
_TIME_ERROR = 5
"""What adjtimex(2) returns for a clock that nothing synchronizes."""
_TIMEX_BYTES = 256
"""More than struct timex has on any Linux; all zero asks and sets nothing."""
_LAST_PORT = 65_535


def check_cores(group: Path = _CGROUP, cpus: set[int] | None = None) -> Diagnosis:
    """Return whether the cores of this process can be used in full."""
    usable = len(os.sched_getaffinity(0) if cpus is None else cpus)
    quota = cpu_quota(group)
    if quota is not None and quota < usable:
        return warning(
            "cores",
            f"{usable} cores, of which the container may use {quota:g}",
            "raise the container's CPU limit, or leave it out: at the limit the"
            " kernel stops every thread for a moment",
        )
    if usable < 2:
        return warning(
            "cores", "1 core", "give 2 or more: LoadGen and the replicas share it"
        )
    return good("cores", f"{usable} cores")


def check_isolated(folder: Path = _CPUS, cpus: set[int] | None = None) -> Diagnosis:
    """Return whether this process may run on cores that the kernel isolates."""
    try:
        isolated = parse_cpus((folder / "isolated").read_text())
    except (OSError, ValueError):
        isolated = set()
    mine = isolated & (os.sched_getaffinity(0) if cpus is None else cpus)
    if mine:
        return warning(
            "isolated cores",
            f"{len(mine)} of this process's cores are isolated",
            "start with `taskset` on the other cores: the kernel does not move threads"
            " away from a busy isolated core",
        )
    return good("isolated cores", f"{len(isolated)} on this host, none used here")


def parse_cpus(text: str) -> set[int]:
    """Return the cores of a kernel list such as `0-3,8`.

    Raises:
        ValueError: it is no such list.
    """
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def check_memory(free: int | None) -> Diagnosis:
    """Return whether `free` bytes of memory are enough for a run."""
    if free is None:
        return good("memory", "free memory is unknown on this host")
    text = f"{free / _GIB:.1f} GiB free"
    if free < _GIB:
        return bad("memory", text, "end other processes or raise the cgroup's limit")
    if free < 4 * _GIB:
        return warning("memory", text, "free 4 GiB: a replica on a CPU takes that")
    return good("memory", text)


def check_open_files(hard: int) -> Diagnosis:
    """Return whether the hard limit of open files is enough; a run raises the soft."""
    text = "no limit" if hard == resource.RLIM_INFINITY else f"at most {hard:,}"
    if hard == resource.RLIM_INFINITY or hard >= _ENOUGH_FILES:
        return good("open files", text)
    remedy = f"raise it: ulimit -Hn {_ENOUGH_FILES}, or LimitNOFILE of the service"
    if hard < _FEWEST_FILES:
        return bad("open files", text, remedy)
    return warning("open files", text, remedy)


def check_processes(hard: int, group: Path = _CGROUP) -> Diagnosis:
    """Return whether the replicas can start their threads, which the limits count.

    Args:
        hard: of RLIMIT_NPROC, which counts all threads of the user.
        group: the folder of this process's cgroup.
    """
    limits = [] if hard == resource.RLIM_INFINITY else [hard]
    with contextlib.suppress(OSError, ValueError):
        limits.append(int((group / "pids.max").read_text()))
    if not limits:
        return good("threads", "no limit")
    text = f"at most {min(limits):,}"
    if min(limits) < _FEWEST_THREADS:
        return warning(
            "threads",
            text,
            "raise it: --pids-limit=-1 of the container, TasksMax of the service, or"
            f" ulimit -Hu {4 * _FEWEST_THREADS}",
        )
    return good("threads", text)


def check_shared_memory(folder: Path = _SHM, free: int | None = None) -> Diagnosis:
    """Return whether vLLM's processes can share memory."""
    try:
        left = shutil.disk_usage(folder).free if free is None else free
    except OSError as error:
        return bad(
            "shared memory", f"{folder}: {error.strerror}", "mount a tmpfs there"
        )
    text = f"{left / _GIB:.1f} GiB free in {folder}"
    if left < _GIB:
        return warning(
            "shared memory",
            text,
            "give the container more (--shm-size=8g), or remove what crashed programs"
            " left there",
        )
    return good("shared memory", text)


def check_folder(
    name: str, folder: Path, gib: float, option: str, free: int | None = None
) -> Diagnosis:
    """Return whether `folder`, or the one that it will be made in, can be written.

    Args:
        name: of the check.
        folder: need not exist.
        gib: room that is enough, in GiB.
        option: how the user names another folder.
        free: bytes; None: as found.
    """
    there = next(path for path in [folder, *folder.parents] if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            left = shutil.disk_usage(there).free if free is None else free
    except OSError as error:
        reason = f"{there}: cannot be written ({error.strerror})"
        return bad(name, reason, f"choose another folder with {option}")
    text = f"{left / _GIB:.1f} GiB free in {there}"
    if left < 0.1 * gib * _GIB:
        return bad(name, text, f"free {gib:g} GiB, or choose another with {option}")
    if left < gib * _GIB:
        return warning(name, text, f"free {gib:g} GiB, or choose another with {option}")
    return good(name, text)


def check_clock(state: int | None) -> Diagnosis:
    """Return whether something synchronizes the clock; `state` is of adjtimex(2)."""
    if state is None:
        return good("clock", "the kernel does not report its state here")
    if state == _TIME_ERROR:
        return warning(
            "clock",
            "nothing synchronizes it",
            "start chrony or systemd-timesyncd: the times of several nodes and of the"
            " run folder depend on it",
        )
    return good("clock", "synchronized")


def clock_state() -> int | None:
    """Return what adjtimex(2) returns; None where it is not allowed."""
    try:
        buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
        state = int(ctypes.CDLL(None).adjtimex(buffer))
    except (OSError, AttributeError):
        return None
    return state if state >= 0 else None


def check_port(port: int) -> Diagnosis:
    """Return whether the coordinator could listen for nodes on `port` and the next."""
    for number in (port, port + 1):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("", number))
            except OSError as error:
                return warning(
                    "ports",
                    f"{number}: {error.strerror}",
                    "end what listens there, or set cluster.listen to other ports;"
                    " only cluster=external needs them",
                )
    return good("ports", f"{port} and {port + 1} are free")


def check_reachable(address: str, timeout_s: float = 5.0) -> Diagnosis:
    """Return whether a TCP connection to `address` (HOST:PORT) can be made."""
    host, _, port = address.rpartition(":")
    number = whole_number(port, most=_LAST_PORT)
    if not host or not number:
        return bad("reachable", f"{address}: no address", "write HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), number), timeout_s).close()
    except OSError as error:
        return bad(
            "reachable",
            f"{address}: {error.strerror or error}",
            "check that the coordinator runs, its name, and firewalls in between",
        )
    return good("reachable", f"{address} accepts connections")


def host_checks(runs: Path, cache: Path, port: int) -> Iterator[Diagnosis]:
    """Yield the state of this host.

    Args:
        runs: folder of run folders.
        cache: folder of this package's cache.
        port: where nodes join.
    """
    yield check_cores()
    yield check_isolated()
    yield check_memory(available_bytes())
    yield check_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield check_processes(resource.getrlimit(resource.RLIMIT_NPROC)[1])
    yield check_shared_memory()
    yield check_folder("disk", runs, 5, "run.dir=")
    yield check_folder("cache", cache, 5, "XDG_CACHE_HOME")
    yield check_clock(clock_state())
    yield check_port(port)
