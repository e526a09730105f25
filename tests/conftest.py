"""What all tests share."""

import gc
import signal
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_NOT_UNIT = ("benchmarks", "fuzz", "integration", "sut/engines/hopper")
"""Folders whose tests import torch or start processes: no test there is a unit test."""


def _is_unit(path: Path) -> bool:
    return not any(path.is_relative_to(_TESTS / folder) for folder in _NOT_UNIT)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import those folders where only unit tests are asked for."""
    only_unit = "not integration" in config.getoption("markexpr")
    return True if only_unit and not _is_unit(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in those folders, so that each test runs in one of the parts."""
    for item in items:
        if not _is_unit(item.path):
            item.add_marker(pytest.mark.integration)


def pytest_configure() -> None:
    """Have Ctrl-C reach what tests start, also in the background of a shell."""
    gc.disable()  # until all modules are imported, which live as long as the tests
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave what was imported out of collections, which take seconds otherwise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()
