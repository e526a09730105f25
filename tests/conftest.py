"""What all tests share."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
NOT_UNIT = ("benchmarks", "fuzz", "integration", "sut/engines/hopper")
"""Folders whose tests import torch or start processes: none of them is a unit test.

`make unit` does not even import them.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in those folders, so that no test belongs to neither part."""
    for item in items:
        if any(item.path.is_relative_to(_TESTS / folder) for folder in NOT_UNIT):
            item.add_marker(pytest.mark.integration)
