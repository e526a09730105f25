"""Checks of the health of this host's GPUs."""

from collections.abc import Iterator, Sequence

from cli.diagnosis import Diagnosis, bad, good, warning
from record.devices import DeviceHealth
from sut.telemetry import DeviceMonitor, gpu_count


def gpu_health() -> list[DeviceHealth]:
    """Return the state of every GPU of this host; none without a driver."""
    return DeviceMonitor([str(number) for number in range(gpu_count())]).health()


def gpu_checks(health: Sequence[DeviceHealth]) -> Iterator[Diagnosis]:
    """Yield the faults that the driver reports; one good line if there are none."""
    found = [
        *_rows(health),
        *_links(health),
        *_persistence(health),
    ]
    if health and not found:
        yield good("gpu health", f"{len(health)} GPUs without a fault")
    yield from found


def _rows(health: Sequence[DeviceHealth]) -> Iterator[Diagnosis]:
    if failed := _names(one for one in health if one.remap_failed):
        yield bad(
            "gpu memory",
            f"{failed}: rows of memory could not be remapped",
            "replace the GPU",
        )
    if pending := _names(one for one in health if one.remap_pending):
        yield warning(
            "gpu memory",
            f"{pending}: rows of memory wait to be remapped",
            "reset the GPU (nvidia-smi -r), or restart the host",
        )


def _links(health: Sequence[DeviceHealth]) -> Iterator[Diagnosis]:
    down = [one for one in health if one.nvlinks_up and one.nvlinks_down]
    if down:
        links = ", ".join(
            f"{one.device} {one.nvlinks_down} of"
            f" {(one.nvlinks_up or 0) + (one.nvlinks_down or 0)}"
            for one in down
        )
        yield warning(
            "nvlink",
            f"links are down: {links}",
            "restart the fabric manager, then the host; nvidia-smi nvlink -s lists"
            " the links",
        )


def _persistence(health: Sequence[DeviceHealth]) -> Iterator[Diagnosis]:
    if off := _names(one for one in health if one.persistence_mode is False):
        yield warning(
            "persistence mode",
            f"off on {off}",
            "start nvidia-persistenced, or run nvidia-smi -pm 1: without it each start"
            " takes seconds longer and clock settings are lost",
        )


def _names(health: Iterator[DeviceHealth]) -> str:
    return ", ".join(one.device for one in health)
