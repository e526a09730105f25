"""Reads devices: NVIDIA GPUs through NVML, the host's CPU through psutil.

Kernels, containers and drivers differ in what they report. A reading that cannot be had
is None, whatever the reason: no reading may end a run.
"""

from pathlib import Path
from typing import Any

import psutil
import pynvml

from record.devices import DeviceHealth, DeviceLimits, DeviceUse
from sut.device_health import HealthCounters, device_health
from sut.device_health import ask as _ask
from sut.wire.messages import DeviceReading, HostReading

_SWITCHES = b"nonvoluntary_ctxt_switches:"


def gpu_count() -> int:
    """Return how many NVIDIA GPUs this host has; 0 without a driver."""
    _ask(pynvml.nvmlInit)
    return _ask(pynvml.nvmlDeviceGetCount) or 0


def gpu_uuid(index: int) -> str | None:
    """Return the UUID of the GPU with this NVML index; None if it has none."""
    handle = _ask(pynvml.nvmlDeviceGetHandleByIndex, index)
    uuid = None if handle is None else _ask(pynvml.nvmlDeviceGetUUID, handle)
    return None if uuid is None else str(uuid)


def gpu_pci(gpu: str) -> str | None:
    """Return the PCI address of a GPU by its NVML index or UUID; None: unknown."""
    handle = (
        _ask(pynvml.nvmlDeviceGetHandleByIndex, int(gpu))
        if gpu.isdigit()
        else _ask(pynvml.nvmlDeviceGetHandleByUUID, gpu)
    )
    found = None if handle is None else _ask(pynvml.nvmlDeviceGetPciInfo, handle)
    if found is None:
        return None
    address = found.busId
    return address.decode() if isinstance(address, bytes) else str(address)


def has_device(uuid: str) -> bool:
    """Return whether the driver knows a GPU or MIG instance by this UUID."""
    _ask(pynvml.nvmlInit)
    return _ask(pynvml.nvmlDeviceGetHandleByUUID, uuid) is not None


class DeviceMonitor:
    """Reads the devices of one replica."""

    def __init__(self, gpus: list[str]) -> None:
        """Read these GPUs (NVML indices or UUIDs), or the CPU if there are none."""
        self._process: psutil.Process | None = _ask(psutil.Process)
        self._handles: dict[str, Any] = {}
        if gpus:
            _ask(pynvml.nvmlInit)
        for gpu in gpus:
            self._handles[gpu] = (
                _ask(pynvml.nvmlDeviceGetHandleByIndex, int(gpu))
                if gpu.isdigit()
                else _ask(pynvml.nvmlDeviceGetHandleByUUID, gpu)
            )
        self._counters = {
            gpu: HealthCounters(handle)
            for gpu, handle in self._handles.items()
            if handle is not None
        }

    def names(self) -> list[str]:
        """Return a readable name for each device."""
        if not self._handles:
            return ["cpu"]
        return [
            f"{(handle and _ask(pynvml.nvmlDeviceGetName, handle)) or 'GPU'} #{gpu}"
            for gpu, handle in self._handles.items()
        ]

    def driver(self) -> dict[str, str]:
        """Return the release of the GPUs' driver; empty on a CPU."""
        release = _ask(pynvml.nvmlSystemGetDriverVersion) if self._handles else None
        return {"driver": str(release)} if release else {}

    def limits(self) -> list[DeviceLimits]:
        """Return the limits of each GPU; values that are not reported are None."""
        return [_limits(gpu, handle) for gpu, handle in self._handles.items()]

    def health(self) -> list[DeviceHealth]:
        """Return the state of each GPU; what is not reported is None."""
        return [device_health(f"gpu{gpu}", h) for gpu, h in self._handles.items()]

    def use(self) -> list[DeviceUse]:
        """Return the current use of each GPU by all processes."""
        return [
            DeviceUse(
                device=reading.device,
                memory_used_bytes=reading.memory_used_bytes,
                utilization_pct=reading.utilization_pct,
            )
            for reading in (self.read() if self._handles else [])
        ]

    def read(self) -> list[DeviceReading]:
        """Return one reading per device; values that cannot be read are None."""
        if not self._handles:
            return [self._read_cpu()]
        return [
            _read_gpu(gpu, handle, self._counters.get(gpu))
            for gpu, handle in self._handles.items()
        ]

    def _read_cpu(self) -> DeviceReading:
        memory = _ask(self._process.memory_info) if self._process else None
        whole = _ask(psutil.virtual_memory)
        return DeviceReading(
            device="cpu",
            memory_used_bytes=memory.rss if memory else None,
            memory_total_bytes=whole.total if whole else None,
            utilization_pct=_ask(self._cpu_pct),
        )

    def _cpu_pct(self) -> float:
        """Return the share of its cores that this process uses."""
        assert self._process is not None
        cores = len(self._process.cpu_affinity() or [0])
        return round(self._process.cpu_percent() / cores, 1)


class HostMonitor:
    """Reads this process's use of the host's processors since the last reading."""

    def __init__(self) -> None:
        """Begin now."""
        self._process: psutil.Process | None = _ask(psutil.Process)
        self._times = _ask(psutil.cpu_times)
        self._process_pct()

    def read(self) -> HostReading:
        """Return one reading; the kernel counts in hundredths of a second."""
        before, self._times = self._times, _ask(psutil.cpu_times)
        busy_pct, steal_pct = _ask(_host_shares, before, self._times) or (None, None)
        return HostReading(
            process_cpu_pct=self._process_pct(),
            host_cpu_pct=busy_pct,
            steal_pct=steal_pct,
            involuntary_switches=_ask(_switches, Path("/proc/self/task")),
        )

    def _process_pct(self) -> float | None:
        percent = _ask(self._process.cpu_percent) if self._process else None
        return None if percent is None else round(percent, 1)


def _host_shares(before: Any, now: Any) -> tuple[float, float] | None:
    """Return the percentages of time that cores were busy, and stolen by other guests.

    None where no time has passed. A kind of time that this kernel does not count is 0.
    """
    spent = {
        name: getattr(now, name) - getattr(before, name)
        for name in ("user", "nice", "system", "idle", "iowait", "irq", "softirq")
        if hasattr(now, name)
    }
    stolen = getattr(now, "steal", 0.0) - getattr(before, "steal", 0.0)
    total = sum(spent.values()) + stolen
    if total <= 0:
        return None
    idle = spent["idle"] + spent.get("iowait", 0.0)
    return round(100 * (1 - idle / total), 1), round(100 * stolen / total, 1)


def _switches(threads: Path) -> int | None:
    """Return the involuntary context switches of all threads of a process.

    The kernel counts by thread; psutil reports those of the first alone. None where the
    kernel does not count them.
    """
    counts = [_ask(_thread_switches, status) for status in threads.glob("*/status")]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _thread_switches(status: Path) -> int | None:
    for line in status.read_bytes().splitlines():
        if line.startswith(_SWITCHES):
            return int(line.removeprefix(_SWITCHES))
    return None


def _limits(name: str, handle: Any) -> DeviceLimits:
    memory = _memory(handle)
    power = _ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, handle)
    clock = pynvml.nvmlDeviceGetMaxClockInfo
    return DeviceLimits(
        device=f"gpu{name}",
        memory_bytes=memory.total if memory else None,
        sm_clock_mhz=_ask(clock, handle, pynvml.NVML_CLOCK_SM),
        memory_clock_mhz=_ask(clock, handle, pynvml.NVML_CLOCK_MEM),
        power_w=power / 1000 if power is not None else None,
        link=_link(handle),
    )


def _memory(handle: Any) -> Any:
    # The second form does not count what the driver keeps for itself as used.
    return _ask(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)


def _link(handle: Any) -> str | None:
    nvlinks = sum(
        bool(_ask(pynvml.nvmlDeviceGetNvLinkState, handle, number))
        for number in range(pynvml.NVML_NVLINK_MAX_LINKS)
    )
    generation = _ask(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, handle)
    width = _ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth, handle)
    parts = [f"NVLink x{nvlinks}"] if nvlinks else []
    if generation and width:
        parts.append(f"PCIe gen{generation} x{width}")
    return ", ".join(parts) or None


def _read_gpu(name: str, handle: Any, counters: HealthCounters | None) -> DeviceReading:
    if handle is None or counters is None:
        return DeviceReading(device=f"gpu{name}")
    memory = _memory(handle)
    use = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    power = _ask(pynvml.nvmlDeviceGetPowerUsage, handle)
    return DeviceReading(
        device=f"gpu{name}",
        memory_used_bytes=memory.used if memory else None,
        memory_total_bytes=memory.total if memory else None,
        utilization_pct=float(use.gpu) if use else None,
        power_w=power / 1000 if power is not None else None,
        temperature_c=_ask(
            pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU
        ),
        sm_clock_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        memory_clock_mhz=_ask(
            pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM
        ),
        throttle_reasons=_ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle),
        ecc_errors=_ask(
            pynvml.nvmlDeviceGetTotalEccErrors,
            handle,
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            pynvml.NVML_VOLATILE_ECC,
        ),
        **counters.read(),
    )
