"""Damaged input for each decoder, for seconds; `python -m tests.fuzz` runs longer."""

from pathlib import Path

import pytest

from tests.fuzz.targets import all_targets

pytestmark = pytest.mark.integration
_CASES, _FEWER = 25, 3


def test_damaged_input_ends_in_documented_errors(tmp_path: Path) -> None:
    for target in all_targets(tmp_path):
        count = _FEWER if target.slow else _CASES
        target.try_out(1, lambda ran, count=count: ran >= count)  # type: ignore[misc]
