"""NUMA nodes of this host: which cores and GPUs are near to which memory.

Read from Linux's /sys (Documentation/ABI/stable/sysfs-devices-node, and
sysfs-bus-pci). Where it says nothing, a host counts as one node.
"""

import contextlib
import ctypes
import os
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

_SYS = Path("/sys")
_MPOL_BIND = 2
_SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237}
"""Number of the system call set_mempolicy(2), by machine."""
_MASK_BITS = 1024


def numa_nodes(sys: Path = _SYS) -> dict[int, list[int]]:
    """Return the cores of each NUMA node that has cores and memory, by its number."""
    folder = sys / "devices/system/node"
    with contextlib.suppress(OSError, ValueError):
        nodes = {
            number: parse_list((folder / f"node{number}/cpulist").read_text())
            for number in parse_list((folder / "has_memory").read_text())
        }
        return {number: cores for number, cores in nodes.items() if cores}
    return {}


def node_of_pci(address: str, sys: Path = _SYS) -> int | None:
    """Return the NUMA node of a PCI device; None: unknown.

    Args:
        address: as NVML gives it, e.g. `00000000:4B:00.0`.
        sys: where /sys is.
    """
    domain, _, rest = address.lower().partition(":")
    path = sys / "bus/pci/devices" / f"{domain[-4:]}:{rest}" / "numa_node"
    with contextlib.suppress(OSError, ValueError):
        number = int(path.read_text())
        # Firmware that does not say it gives -1.
        return number if number >= 0 else None
    return None


def whole_cores(cpus: Collection[int], sys: Path = _SYS) -> list[int]:
    """Return `cpus` with the threads of a physical core next to each other."""

    def core(cpu: int) -> tuple[int, int]:
        path = sys / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        with contextlib.suppress(OSError, ValueError):
            return min(parse_list(path.read_text())), cpu
        return cpu, cpu

    return sorted(cpus, key=core)


def near_gpus(
    cpus: Sequence[int], nodes: dict[int, list[int]], gpus: Mapping[str, int | None]
) -> dict[str, list[int]]:
    """Return the cores of each GPU: equal shares of those of its NUMA node.

    Args:
        cpus: cores that may be used, in the order in which they are given away.
        nodes: as `numa_nodes` returns them.
        gpus: NUMA node of each GPU.

    Returns:
        As many cores for every GPU; empty where the host has one node, or where a GPU's
        is not known or has no cores.
    """
    if len(nodes) < 2 or not gpus:
        return {}
    order = list(gpus.values())
    shares: dict[str, list[int]] = {}
    for index, (gpu, node) in enumerate(gpus.items()):
        own = [cpu for cpu in cpus if node is not None and cpu in nodes.get(node, [])]
        size = len(own) // order.count(node)
        before = order[:index].count(node)
        shares[gpu] = own[before * size : (before + 1) * size]
    size = min(map(len, shares.values()))
    return {gpu: share[:size] for gpu, share in shares.items()} if size else {}


def memory_node(cpus: Sequence[int], nodes: dict[int, list[int]]) -> int | None:
    """Return the NUMA node on which all of `cpus` lie, where the host has several."""
    if len(nodes) < 2 or not cpus:
        return None
    return next((n for n, cores in nodes.items() if set(cpus) <= set(cores)), None)


def bind_memory(node: int) -> str | None:
    """Have this process, and those that it starts, take memory of one node alone.

    Returns:
        Why it cannot be bound; None: it is.
    """
    number = _SET_MEMPOLICY.get(platform.machine())
    if number is None:
        return f"not known how on {platform.machine()}"
    words = (ctypes.c_ulong * (_MASK_BITS // 64))()
    words[node // 64] = 1 << node % 64
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, _MPOL_BIND, words, ctypes.c_ulong(_MASK_BITS + 1)) == 0:
        return None
    return os.strerror(ctypes.get_errno())


def memory_by_node(
    pids: Iterable[int], proc: Path = Path("/proc")
) -> dict[int, int] | None:
    """Return the bytes of processes' own memory on each NUMA node; None: not known.

    Pages of files are not counted: they are shared, and lie where a process first read
    them. Source: Documentation/filesystems/proc.rst, numa_maps.
    """
    sums: dict[int, int] = {}
    for pid in pids:
        # A process may have ended.
        with contextlib.suppress(OSError, ValueError):
            for line in (proc / f"{pid}/numa_maps").read_text().splitlines():
                words = [word.partition("=") for word in line.split()]
                fields = {name: value for name, _, value in words}
                if "file" in fields:
                    continue
                size = int(fields.get("kernelpagesize_kB", "4")) * 1024
                for name, pages in fields.items():
                    if name[0] == "N" and name[1:].isdigit():
                        node = int(name[1:])
                        sums[node] = sums.get(node, 0) + int(pages) * size
    return dict(sorted(sums.items())) or None


def parse_list(text: str) -> list[int]:
    """Return the numbers of a list as the kernel writes it, e.g. `0-3,8`.

    Raises:
        ValueError: it is no such list.
    """
    numbers: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
