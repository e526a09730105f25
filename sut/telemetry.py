"""Reads devices: NVIDIA GPUs through NVML, the host's CPU through psutil."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pynvml

from record.structs import DeviceLimits, DeviceUse
from sut.messages import DeviceReading, HostReading


def gpu_count() -> int:
    """Return how many NVIDIA GPUs this host has; 0 without a driver."""
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0


class DeviceMonitor:
    """Reads the devices of one replica."""

    def __init__(self, gpus: list[str]) -> None:
        """Watch these GPUs (NVML indices or UUIDs); none: this process on its CPU."""
        self._process = psutil.Process()
        self._handles: dict[str, Any] = {}
        if gpus:
            _ask(pynvml.nvmlInit)
        for gpu in gpus:
            self._handles[gpu] = (
                _ask(pynvml.nvmlDeviceGetHandleByIndex, int(gpu))
                if gpu.isdigit()
                else _ask(pynvml.nvmlDeviceGetHandleByUUID, gpu)
            )

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
        """Return what each GPU could do at most; what is not told is None."""
        return [_limits(gpu, handle) for gpu, handle in self._handles.items()]

    def use(self) -> list[DeviceUse]:
        """Return what is in use of each GPU at this moment, by whomever."""
        return [
            DeviceUse(
                device=reading.device,
                memory_used_bytes=reading.memory_used_bytes,
                utilization_pct=reading.utilization_pct,
            )
            for reading in (self.read() if self._handles else [])
        ]

    def read(self) -> list[DeviceReading]:
        """Return one reading per device; what cannot be read is None."""
        if not self._handles:
            return [self._read_cpu()]
        return [_read_gpu(gpu, handle) for gpu, handle in self._handles.items()]

    def _read_cpu(self) -> DeviceReading:
        cores = len(self._process.cpu_affinity() or [0])
        return DeviceReading(
            device="cpu",
            memory_used_bytes=self._process.memory_info().rss,
            memory_total_bytes=psutil.virtual_memory().total,
            utilization_pct=round(self._process.cpu_percent() / cores, 1),
        )


class HostMonitor:
    """Reads what the host's processors did for this process since the last look."""

    def __init__(self) -> None:
        """Begin now."""
        self._process = psutil.Process()
        self._times = psutil.cpu_times()
        self._process.cpu_percent()

    def read(self) -> HostReading:
        """Return one reading; the kernel counts in hundredths of a second."""
        before, self._times = self._times, psutil.cpu_times()
        spent = {
            name: getattr(self._times, name) - getattr(before, name)
            for name in ("user", "nice", "system", "idle", "iowait", "irq", "softirq")
        }
        stolen = self._times.steal - before.steal
        total = sum(spent.values()) + stolen
        idle = spent["idle"] + spent["iowait"]
        return HostReading(
            process_cpu_pct=round(self._process.cpu_percent(), 1),
            host_cpu_pct=round(100 * (1 - idle / total), 1) if total > 0 else None,
            steal_pct=round(100 * stolen / total, 1) if total > 0 else None,
            involuntary_switches=_switches(self._process.pid),
        )


def _switches(pid: int) -> int:
    """Return the involuntary context switches of all threads of a process.

    The kernel counts by thread; psutil tells those of the first alone.
    """
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(OSError):
            text = status.read_text()
            total += int(text.rpartition("nonvoluntary_ctxt_switches:")[2])
    return total


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


def _read_gpu(name: str, handle: Any) -> DeviceReading:
    if handle is None:
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
    )


def _ask(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return NVML's answer, or None where this device has none."""
    try:
        return function(*arguments)
    except pynvml.NVMLError:
        return None
