import pytest

from record.structs import DeviceUse
from sut.console import warn_of_shared_devices
from tests.run_folder import replica_record


def test_shared_devices_are_reported_before_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    free, shared = replica_record(0), replica_record(1)
    free.before = [DeviceUse(device="gpu0", memory_used_bytes=0, utilization_pct=0.0)]
    shared.before = [DeviceUse(device="gpu1", memory_used_bytes=2**30)]
    warn_of_shared_devices([free, shared])
    assert capsys.readouterr().err == (
        "warning: replica 1 on n1 shares its device: gpu1 1.0 GiB before it loaded;"
        " see nvidia-smi there\n"
    )
