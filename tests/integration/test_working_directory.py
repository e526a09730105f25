"""Commands called from a folder that has packages of the same names as ours."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

_FOREIGN = ("conf", "record", "scenarios", "report")
"""`conf/` is Hydra's own convention; the others are names that people use."""


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    for name in _FOREIGN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('foreign')\n")
    return tmp_path


def test_a_run_uses_our_packages_in_any_working_directory(crowded: Path) -> None:
    options = ["engine=synthetic", "dataset=synthetic", "dataset.count=8"]
    done = subprocess.run(
        [sys.executable, "-m", "sut.main", *options, "engine.step_s=0.001"],
        cwd=crowded,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (crowded / "runs/latest/report.html").exists()


@pytest.mark.parametrize("command", ["accuracy", "submission", "qsl.prepare"])
def test_other_commands_use_our_packages(crowded: Path, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", command, "--help"],
        cwd=crowded,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
