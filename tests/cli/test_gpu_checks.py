from typing import Any

import pytest

from cli.diagnosis import Level
from cli.gpu_checks import gpu_checks
from record.devices import DeviceHealth

GOOD: dict[str, Any] = {
    "persistence_mode": True,
    "nvlinks_up": 18,
    "nvlinks_down": 0,
    "remap_pending": False,
    "remap_failed": False,
}


@pytest.mark.parametrize(
    ("changed", "level", "text"),
    [
        ({}, Level.good, "2 GPUs without a fault"),
        (dict.fromkeys(GOOD), Level.good, "2 GPUs without a fault"),
        ({"remap_failed": True}, Level.bad, "gpu1: rows of memory could not"),
        ({"remap_pending": True}, Level.warning, "gpu1: rows of memory wait"),
        ({"nvlinks_up": 16, "nvlinks_down": 2}, Level.warning, "gpu1 2 of 18"),
        ({"persistence_mode": False}, Level.warning, "off on gpu1"),
    ],
)
def test_a_fault_is_found(changed: dict[str, Any], level: Level, text: str) -> None:
    health = [
        DeviceHealth(device="gpu0", **GOOD),
        DeviceHealth(device="gpu1", **(GOOD | changed)),
    ]
    (found,) = gpu_checks(health)
    assert found.level is level
    assert text in found.found
    assert bool(found.remedy) == (level is not Level.good)


def test_a_host_without_gpus_has_no_line() -> None:
    assert list(gpu_checks([])) == []
