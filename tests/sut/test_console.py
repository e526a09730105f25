import json
from pathlib import Path

import pytest

from record.devices import DeviceUse
from record.folder import read_json
from record.structs import Verdict
from sut.console import print_json, warn_of_shared_devices
from tests.run_folder import good_spec, replica_record, write_folder


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


def test_the_result_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    verdict = read_json(folder.verdict, Verdict)
    print_json(folder, verdict, {"rouge1": 38.5})
    found = json.loads(capsys.readouterr().out)
    assert (found["run"], found["outcome"]) == (str(folder.path), "passed")
    assert found["figures"]["rouge1"] == 38.5
    assert found["figures"]["tokens/s"] > 0
    assert (found["failed_checks"], found["report"]) == ([], None)
