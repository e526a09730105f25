"""Finds real data that is too large, or not ours, to be part of the project."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared_data(name: str) -> Path:
    """Return the file `name` in MLPERF_SUT_DATA or ../shared/data; skip without it."""
    folders = [os.environ.get("MLPERF_SUT_DATA"), ROOT.parent / "shared" / "data"]
    for folder in folders:
        if folder and (path := Path(folder) / name).exists():
            return path
    pytest.skip(f"{name} is in neither MLPERF_SUT_DATA nor ../shared/data")
