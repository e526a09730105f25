"""Generated pages are current."""

import pytest

from tests.docs.reference import DOCS, PAGES, folder_page, options_page


@pytest.mark.parametrize("name", ["options.md", "run-folder.md"])
def test_the_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run `make docs`"


@pytest.mark.integration  # simulates a campaign
def test_the_page_of_report_keys_is_current() -> None:
    text = PAGES["report-keys.md"]()
    assert (DOCS / "report-keys.md").read_text() == text, "run `make docs`"


def test_pages_show_what_the_source_documents() -> None:
    options = options_page()
    assert "| `scenario.target_qps` | FLOAT |" in options
    assert "`local`" in options.partition("## ")[2]
    folder = folder_page()
    assert "| `status` | completed, lost, unfinished |" in folder
    assert "| `attempt` | int | 1 for the first attempt" in folder
