"""The documentation site builds without warnings and needs no network."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
_LOADS = {
    "audio": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "script": "src",
    "source": "src",
}
"""Elements that load something by themselves, and the attribute that names it."""


class _Page(HTMLParser):
    """Collects what a page loads and what it links to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in _LOADS and (target := values.get(_LOADS[tag])):
            self.loads.append(target)
        if tag == "a" and (target := values.get("href")):
            self.links.append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir"]
    done = subprocess.run(
        [*command, str(target)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return target


def _pages(site: Path) -> Iterator[tuple[Path, _Page]]:
    for path in sorted(site.rglob("*.html")):
        # Pages of the error 404 name the root of a server.
        if path.name != "404.html":
            yield path, _Page(path)


@pytest.mark.integration  # builds the site
def test_the_site_is_complete_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = dict(_pages(site))
    assert {"index.html", "options.html", "benchmarks/index.html"} < {
        path.relative_to(site).as_posix() for path in pages
    }
    for path, page in pages.items():
        for target in page.loads:
            parts = urlsplit(target)
            assert not parts.netloc, f"{path}: loads {target}"
            local = path.parent / unquote(parts.path)
            assert parts.scheme == "data" or local.exists(), f"{path}: {target}"
        for target in page.links:
            parts = urlsplit(target)
            local = path.parent / unquote(parts.path)
            # The run folders that an example report was made from are not published.
            is_example = path.parent.name.startswith("example-report")
            assert parts.scheme or is_example or local.exists(), f"{path}: {target}"
    # The code that is called by all pages has no address to load from either.
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import) *[\"']?https?:", path.read_text()), path


@pytest.mark.integration  # builds the site
def test_example_reports_are_live_pages(site: Path) -> None:
    home = (site / "index.html").read_text()
    assert 'href="example-report-h200/report.html"' in home
    for name in ("example-report", "example-report-h200"):
        page = site / name / "report.html"
        source = ROOT / "docs" / name / "report.html"
        assert page.read_bytes() == source.read_bytes()
