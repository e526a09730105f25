"""The devices and the host of a replica as it found them: parts of `replicas.json`."""

from msgspec import Struct


class DeviceLimits(Struct, kw_only=True):
    """The limits of a device, as its driver reports them."""

    device: str
    memory_bytes: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None
    link: str | None = None
    """Links to other devices or the host, e.g. "NVLink x18, PCIe gen5 x16"."""


class DeviceUse(Struct, kw_only=True):
    """Use of a device by other processes before its replica loaded anything."""

    device: str
    memory_used_bytes: int | None = None
    """Without the memory that the driver reserves."""
    utilization_pct: float | None = None


class DeviceHealth(Struct, kw_only=True):
    """The state of a device before its replica loaded anything."""

    device: str
    persistence_mode: bool | None = None
    numa_node: int | None = None
    """Of the host's memory that is nearest."""
    pcie_generation_max: int | None = None
    """What device and slot can do together."""
    pcie_width_max: int | None = None
    nvlinks_up: int | None = None
    nvlinks_down: int | None = None
    idle_sm_clock_mhz: int | None = None
    ecc_uncorrected_lifetime: int | None = None
    remapped_rows: int | None = None
    """Rows of memory that were replaced after uncorrected errors."""
    remap_pending: bool | None = None
    """Whether a row waits for a reset to be replaced."""
    remap_failed: bool | None = None


class HostHealth(Struct, kw_only=True):
    """The cores that a replica may use."""

    numa_nodes: list[int] | None = None
    """NUMA nodes on which they lie."""
    isolated_cpus: int | None = None
    """How many of them the kernel isolates from its scheduler."""
    cpu_quota: float | None = None
    """Cores that its container may use at once; None: no limit."""
    memory_bytes: dict[int, int] | None = None
    """Memory of its processes on each NUMA node when it was ready, without files; None:
    the host has one node, or does not report it."""
