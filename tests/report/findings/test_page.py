import re
from pathlib import Path

import pytest

from tests.report.findings.page import page

ROOT = Path(__file__).resolve().parents[3]
_CODE = re.compile(
    r'code="([a-z.]+)"|code = "([a-z.]+)"|"((?:scaling|opportunity)\.[a-z]+)"'
)


@pytest.mark.integration  # it makes 45 run folders, which takes seconds
def test_the_page_of_findings_is_current_and_complete() -> None:
    text = page()
    assert (ROOT / "docs/findings.md").read_text() == text, "run `make docs`"
    on_page = set(re.findall(r"^## `([a-z._]+)`", text, re.MULTILINE))
    codes = {
        next(filter(None, found))
        for path in (ROOT / "report/findings").glob("*.py")
        for found in _CODE.findall(path.read_text())
    }
    assert len(codes) > 30
    missing = {c for c in codes if not {c, f"slow.{c}"} & on_page}
    assert missing == set()
