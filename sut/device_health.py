"""The health of GPUs, by NVML, and of the host's part that feeds them, by /sys.

Drivers, virtual machines and containers differ in what they report. A reading that
cannot be had is None, whatever the reason: no reading may end a run.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pynvml

from record.devices import DeviceHealth, HostHealth
from sut.cgroups import cpu_quota

_NOT_AVAILABLE = (2**32 - 1, 2**64 - 1)
"""What NVML returns for a number that the device does not have."""
_SLOW_EVERY = 10
"""Readings from one look at the counters of links to the next: they take one call for
each link and kind of error."""
_LINK_ERRORS = (
    pynvml.NVML_NVLINK_ERROR_DL_REPLAY,
    pynvml.NVML_NVLINK_ERROR_DL_RECOVERY,
    pynvml.NVML_NVLINK_ERROR_DL_CRC_FLIT,
)
_PCI = Path("/sys/bus/pci/devices")
_NODES = Path("/sys/devices/system/node")
_ISOLATED = Path("/sys/devices/system/cpu/isolated")
_GROUPS = Path("/sys/fs/cgroup")


def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what `function` reads, or None where this system does not have it."""
    try:
        value = function(*arguments)
    except Exception:  # noqa: BLE001  (no reading may end a run)
        return None
    return None if isinstance(value, int) and value in _NOT_AVAILABLE else value


def device_health(name: str, handle: Any, pci: Path = _PCI) -> DeviceHealth:
    """Return the health of a GPU that no run uses yet.

    Args:
        name: of the device in the record, e.g. `gpu0`.
        handle: NVML's handle; None: the GPU is not known.
        pci: folder of PCI devices.
    """
    if handle is None:
        return DeviceHealth(device=name)
    persistence = ask(pynvml.nvmlDeviceGetPersistenceMode, handle)
    states = [
        state
        for number in range(pynvml.NVML_NVLINK_MAX_LINKS)
        if (state := ask(pynvml.nvmlDeviceGetNvLinkState, handle, number)) is not None
    ]
    rows = ask(pynvml.nvmlDeviceGetRemappedRows, handle) or (None,) * 4
    return DeviceHealth(
        device=name,
        persistence_mode=None if persistence is None else bool(persistence),
        numa_node=ask(_numa_node, handle, pci),
        pcie_generation_max=ask(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
        pcie_width_max=ask(pynvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
        nvlinks_up=sum(map(bool, states)) if states else None,
        nvlinks_down=sum(not state for state in states) if states else None,
        idle_sm_clock_mhz=ask(
            pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM
        ),
        ecc_uncorrected_lifetime=ask(
            pynvml.nvmlDeviceGetTotalEccErrors,
            handle,
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            pynvml.NVML_AGGREGATE_ECC,
        ),
        remapped_rows=rows[1],
        remap_pending=None if rows[2] is None else bool(rows[2]),
        remap_failed=None if rows[3] is None else bool(rows[3]),
    )


def host_health(
    cpus: Iterable[int],
    nodes: Path = _NODES,
    isolated: Path = _ISOLATED,
    groups: Path = _GROUPS,
) -> HostHealth:
    """Return the state of the cores `cpus`, on which a replica may run."""
    own = set(cpus)
    found = [
        int(path.name.removeprefix("node"))
        for path in nodes.glob("node*")
        if own & (ask(_cpu_list, path / "cpulist") or set())
    ]
    return HostHealth(
        numa_nodes=sorted(found) or None,
        isolated_cpus=len(own & (ask(_cpu_list, isolated) or set())),
        cpu_quota=ask(cpu_quota, groups),
    )


class HealthCounters:
    """Reads the counters of one GPU that show faults during a run."""

    def __init__(self, handle: Any) -> None:
        """Count from now on; XIDs that occur later are seen."""
        self._handle = handle
        self._readings = 0
        self._xid: int | None = None
        self._events = ask(_watch_xids, handle)

    def read(self) -> dict[str, int | None]:
        """Return fields of a `DeviceReading`; counters of links every ten readings."""
        slow = self._readings % _SLOW_EVERY == 0
        self._readings += 1
        handle = self._handle
        return {
            "ecc_corrected": ask(
                pynvml.nvmlDeviceGetTotalEccErrors,
                handle,
                pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
                pynvml.NVML_VOLATILE_ECC,
            ),
            "pcie_generation": ask(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, handle),
            "pcie_width": ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
            "pcie_replays": (
                ask(pynvml.nvmlDeviceGetPcieReplayCounter, handle) if slow else None
            ),
            "nvlink_errors": _link_errors(handle) if slow else None,
            "xid": self._last_xid(),
        }

    def _last_xid(self) -> int | None:
        """Return the last XID since the start; None: there was none."""
        while self._events is not None:
            event = ask(pynvml.nvmlEventSetWait_v2, self._events, 0)
            if event is None:
                break
            self._xid = int(event.eventData)
        return self._xid


def _watch_xids(handle: Any) -> Any:
    events = pynvml.nvmlEventSetCreate()
    pynvml.nvmlDeviceRegisterEvents(
        handle, pynvml.nvmlEventTypeXidCriticalError, events
    )
    return events


def _link_errors(handle: Any) -> int | None:
    counts = [
        count
        for link in range(pynvml.NVML_NVLINK_MAX_LINKS)
        for kind in _LINK_ERRORS
        if (count := ask(pynvml.nvmlDeviceGetNvLinkErrorCounter, handle, link, kind))
        is not None
    ]
    return sum(counts) if counts else None


def _numa_node(handle: Any, pci: Path) -> int | None:
    bus = pynvml.nvmlDeviceGetPciInfo(handle).busId
    text = bus.decode() if isinstance(bus, bytes) else str(bus)
    # NVML writes a domain of eight digits, the kernel one of four.
    domain, _, rest = text.lower().partition(":")
    number = int((pci / f"{domain[-4:]}:{rest}" / "numa_node").read_text())
    return number if number >= 0 else None


def _cpu_list(path: Path) -> set[int]:
    """Return the cores of a kernel list such as `0-3,8`."""
    found: set[int] = set()
    for part in filter(None, path.read_text().strip().split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
