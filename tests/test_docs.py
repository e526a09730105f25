"""Documents that could go stale."""

import re
from pathlib import Path

from conf.help import help_text

ROOT = Path(__file__).resolve().parents[1]


def test_options_page_is_the_help_text() -> None:
    page = (ROOT / "docs" / "options.md").read_text()
    assert help_text() in page, "make docs"


def test_links_lead_somewhere() -> None:
    links = [
        (page, target)
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        for target in re.findall(r"\]\(([^)#]+)", page.read_text())
        if "://" not in target
    ]
    assert len(links) > 20
    for page, target in links:
        assert (page.parent / target).exists(), f"{page.name}: {target}"
