"""The locks fit what they are for."""

from pathlib import Path

import pytest

LOCKS = Path(__file__).resolve().parents[1] / "requirements"


@pytest.mark.parametrize("name", ["cuda.lock", "calibration-cuda.lock"])
def test_hosts_with_gpus_do_not_get_torch_for_cpus(name: str) -> None:
    lines = (LOCKS / name).read_text().splitlines()
    assert "torch==2.13.0" in lines
    assert not [line for line in lines if line.endswith("+cpu")]
    assert [line for line in lines if line.startswith("nvidia-cublas==")]
