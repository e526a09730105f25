"""Writes a report: report.json, report.md, report.html, tables and plots."""

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from record.folder import RunFolder, write_json, write_text
from record.json_types import Json
from report.content import Report, make_report
from report.reading.folder import read_run
from report.rendering.csv_tables import as_csv, tables
from report.rendering.headline import headline, title
from report.rendering.plots.canvas import Plot
from report.rendering.plots.draw import draw
from report.rendering.words import (
    TABLES,
    TITLES,
    cell,
    count,
    filled,
    heading,
    label,
    markdown,
    shown,
    unit_of,
)

PARTS = "report"
"""Folder beside report.html that holds tables and plots as files of their own."""
MANY = 48
"""Rows beyond which a table is folded up on the page and cut short in Markdown."""
_FILES = {
    "config.yaml": "the resolved configuration, to run it again",
    "settings.json": "LoadGen's settings as they were in force",
    "user.conf": "what LoadGen read",
    "verdict.json": "the gate's checks",
    "replicas.json": "what each replica was",
    "samples.jsonl": "one line for each sample",
    "events.jsonl": "faults and retries",
    "telemetry.jsonl": "devices, engines and hosts, once a second",
    "mlperf_log_summary.txt": "LoadGen's summary",
    "mlperf_log_detail.txt": "LoadGen's detail log",
    "report.json": "every figure of this page",
    "report.md": "this page as Markdown",
}
"""Files of a run folder that the page links to."""
_REPEATED = {
    ("validity", "is_not"),
    ("configuration", "relaxed"),
    ("configuration", "run"),
}
"""Figures that the page shows at its top or in another section."""


def write_report(folder: RunFolder) -> Path:
    """Write the report of the run in `folder` into it; return the path of its page.

    Raises:
        RecordError: a file of the folder is missing or damaged.
        OSError: the report cannot be written.
    """
    return write_files(make_report([read_run(folder.path)]), folder.path)


def write_files(
    report: Report, out: Path, progress: Callable[[str], None] = lambda _: None
) -> Path:
    """Write all files of a report into the folder `out`; return the path of its page.

    Args:
        report: what to write.
        out: is made where it does not exist.
        progress: is told what is being done.

    Raises:
        OSError: a file cannot be written.
    """
    content = report.content.plain()
    for name in ("tables", "plots"):
        (out / PARTS / name).mkdir(parents=True, exist_ok=True)
    write_json(out / "report.json", content)
    for name, table in tables(content):
        write_text(out / PARTS / "tables" / f"{name}.csv", as_csv(table))
    progress("drawing plots")
    plots = draw(report)
    for plot in plots:
        write_text(out / PARTS / "plots" / f"{plot.name}.svg", plot.svg())
        (out / PARTS / "plots" / f"{plot.name}.png").write_bytes(plot.png())
    progress("writing the page")
    for name in ("report.md", "report.html"):
        write_text(out / name, render(name, report, content, plots, out))
    return out / "report.html"


def render(
    name: str,
    report: Report,
    content: dict[str, Json],
    plots: list[Plot],
    out: Path | None = None,
) -> str:
    """Return the page or the Markdown file of a report.

    Args:
        name: `report.html` or `report.md`.
        report: what to write.
        content: the report as plain values.
        plots: of the report.
        out: folder of the page, for links to the files of the run; None: no links.
    """
    environment = Environment(
        loader=PackageLoader("report.rendering"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cell": cell,
        "label": label,
        "heading": heading,
        "filled": filled,
        "count": count,
        "markdown": markdown,
        "shown": shown,
        "unit_of": unit_of,
    }
    text = environment.get_template(name).render(
        name=report.subject.name,
        title=title(report),
        campaign=report.campaign,
        report=content,
        headline=headline(report),
        plots=plots,
        titles={key: title for key, title in TITLES.items() if key in _told(report)},
        repeated=_repeated(report),
        links=_links(report, out),
        captions=TABLES,
        parts=PARTS,
        many=MANY,
        several=len(report.runs) > 1,
    )
    return text.rstrip() + "\n"


def _repeated(report: Report) -> set[tuple[str, str]]:
    """Return the figures and tables that the page does not show a second time."""
    lone = {("symmetry", "nodes")} if len(report.subject.nodes) < 2 else set()
    return _REPEATED | lone


def _told(report: Report) -> set[str]:
    """Return the sections that have something to say about these runs."""
    sections = set(TITLES)
    if len(report.runs) < 2:
        sections.discard("scaling")
    if report.subject.size < 2:
        sections.discard("symmetry")
    return sections


def _links(report: Report, out: Path | None) -> list[tuple[str, str, str]]:
    """Return name, address from the page, and meaning of the run's files."""
    path = report.subject.path
    if path is None or out is None:
        return []
    home = Path(os.path.relpath(path.resolve(), out.resolve()))
    own = {"report.json", "report.md"}
    return [
        (name, quote(str(Path(name) if name in own else home / name)), meaning)
        for name, meaning in _FILES.items()
        if name in own or (path / name).exists()
    ]
