"""A hook of mkdocs: pages that lie outside of `docs/` become part of the site.

Links in the pages are those of the checkout, so that they also work where the
repository is read. `SITE` maps the files to their places in the site.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
SITE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "requirements/README.md": "requirements.md",
    **{f"benchmarks/{path.name}": "" for path in ROOT.glob("benchmarks/*.md")},
}
"""Files outside of `docs/` and what they are in the site; empty: the same path."""
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
_BLOCK = re.compile(r"^(?:[-*] |\d+\. |\|)")
_EXAMPLE = re.compile(r"^(docs/example-report[^/]*/report)\.md$")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside of `docs/`."""
    for name in SITE:
        files.append(
            File.generated(config, _in_site(name), abs_src_path=str(ROOT / name))
        )
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links between files of the checkout into links between pages.

    Python-Markdown wants an empty line before a list or a table, CommonMark does not.
    """
    source = Path(page.file.abs_src_path or "").relative_to(ROOT).as_posix()
    begin = posixpath.dirname(page.file.src_uri)

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        return posixpath.relpath(_in_site(target), begin or ".")

    return "\n".join(_spaced(_LINK.sub(moved, markdown).splitlines()))


def _spaced(lines: list[str]) -> Iterator[str]:
    fenced, before = False, ""
    for line in lines:
        fenced ^= line.lstrip().startswith("```")
        # What is indented belongs to the list itself.
        in_text = before.strip() and before[0] != " " and not _BLOCK.match(before)
        if not fenced and in_text and _BLOCK.match(line):
            yield ""
        yield line
        before = line


def _in_site(name: str) -> str:
    # The repository shows Markdown, the site the page that users get.
    name = _EXAMPLE.sub(r"\1.html", name)
    return SITE.get(name) or name.removeprefix("docs/")
