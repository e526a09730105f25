"""Other processes on a replica's devices, by what was in use before it loaded."""

from record.structs import DeviceUse, ReplicaRecord

_HELD_BYTES = 100 * 2**20
"""A CUDA context holds more than this; a driver's own helpers hold less."""
_BUSY_PCT = 5.0


def shared_devices(record: ReplicaRecord) -> list[DeviceUse]:
    """Return the devices of a replica that other processes were using.

    A process that came later, or holds no memory and was idle at that moment, is not
    seen; nor is any beside a replica that was restarted, whose own traces fade.
    """
    return [
        use
        for use in record.before
        if not record.restarts
        and ((use.memory_used_bytes or 0) >= _HELD_BYTES or is_busy(use))
    ]


def is_busy(use: DeviceUse) -> bool:
    """Return whether the device was at work for others."""
    return (use.utilization_pct or 0.0) >= _BUSY_PCT


def describe_use(use: DeviceUse) -> str:
    """Return what was in use, for a sentence."""
    held = (use.memory_used_bytes or 0) / 2**30
    busy = use.utilization_pct
    return f"{use.device} {held:,.1f} GiB" + (f" and {busy:.0f}% busy" if busy else "")
