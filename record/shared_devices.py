"""Other processes on a replica's devices, by their use before the replica loaded."""

from record.devices import DeviceUse
from record.structs import ReplicaRecord

_HELD_BYTES = 100 * 2**20
"""A CUDA context takes more than this; the driver's own helpers take less."""
_BUSY_PCT = 5.0


def shared_devices(record: ReplicaRecord) -> list[DeviceUse]:
    """Return the devices of a replica that other processes were using.

    Not seen are processes that started later, and those that held no memory and were
    idle at that moment. A restarted replica reports none, since the readings may still
    include its own earlier process.
    """
    return [
        use
        for use in record.before
        if not record.restarts
        and ((use.memory_used_bytes or 0) >= _HELD_BYTES or is_busy(use))
    ]


def is_busy(use: DeviceUse) -> bool:
    """Return whether other processes kept the device busy."""
    return (use.utilization_pct or 0.0) >= _BUSY_PCT


def describe_use(use: DeviceUse) -> str:
    """Return the use of a device as text, e.g. "cuda:0 12.0 GiB and 30% busy"."""
    held = (use.memory_used_bytes or 0) / 2**30
    busy = use.utilization_pct
    return f"{use.device} {held:,.1f} GiB" + (f" and {busy:.0f}% busy" if busy else "")
