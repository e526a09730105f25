import pytest

from record.devices import DeviceUse
from record.shared_devices import describe_use, shared_devices
from tests.run_folder import replica_record

FREE = DeviceUse(device="gpu0", memory_used_bytes=0, utilization_pct=0.0)


@pytest.mark.parametrize(
    ("held", "busy", "shared"),
    [
        # Both were read on an H200: its driver's own, then beside a busy process.
        (0, 0.0, False),
        (724_369_408, 31.0, True),
        (724_369_408, 0.0, True),
        (4 * 2**20, 0.0, False),
        (None, 31.0, True),
        (None, None, False),
    ],
)
def test_what_was_in_use_tells_of_another_process(
    held: int | None, busy: float | None, shared: bool
) -> None:
    record = replica_record(0)
    use = DeviceUse(device="gpu1", memory_used_bytes=held, utilization_pct=busy)
    record.before = [FREE, use]
    assert shared_devices(record) == ([use] if shared else [])


def test_use_is_told_in_words() -> None:
    use = DeviceUse(device="gpu1", memory_used_bytes=724_369_408, utilization_pct=31.0)
    assert describe_use(use) == "gpu1 0.7 GiB and 31% busy"
    use.utilization_pct = 0.0
    assert describe_use(use) == "gpu1 0.7 GiB"
