"""Links between files of the checkout."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_links_lead_somewhere() -> None:
    pages = ["*.md", "docs/*.md", "docs/adr/*.md", "benchmarks/*.md"]
    links = [
        (page, target)
        for pattern in pages
        for page in ROOT.glob(pattern)
        for target in re.findall(r"\]\(([^)#]+)", page.read_text())
        if "://" not in target
    ]
    assert len(links) > 20
    for page, target in links:
        assert (page.parent / target).exists(), f"{page.name}: {target}"
