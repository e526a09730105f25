"""Reads devices: NVIDIA GPUs through NVML, the host's CPU through psutil."""

from collections.abc import Callable
from typing import Any

import psutil
import pynvml

from sut.messages import DeviceReading


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


def _read_gpu(name: str, handle: Any) -> DeviceReading:
    if handle is None:
        return DeviceReading(device=f"gpu{name}")
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
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
