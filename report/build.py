"""Writes a report: report.json, report.md, report.html, tables and plots."""

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from record.folder import RunFolder, write_json, write_text
from record.json_types import Json
from report.content import Report, make_report
from report.headline import headline, title
from report.plots.canvas import Plot
from report.plots.draw import draw
from report.run import read_run
from report.tables import as_csv, tables
from report.words import TABLES, TITLES, cell, filled, heading, label

PARTS = "report"
"""Folder beside report.html that holds tables and plots as files of their own."""
MANY = 48
"""Rows beyond which a table is folded up on the page and cut short in Markdown."""


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
        write_text(out / name, render(name, report, content, plots))
    return out / "report.html"


def render(
    name: str, report: Report, content: dict[str, Json], plots: list[Plot]
) -> str:
    """Return the page or the Markdown file of a report."""
    environment = Environment(
        loader=PackageLoader("report"),
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
    }
    text = environment.get_template(name).render(
        name=report.subject.name,
        title=title(report),
        campaign=report.campaign,
        report=content,
        headline=headline(report),
        plots=plots,
        titles=TITLES,
        captions=TABLES,
        parts=PARTS,
        many=MANY,
        several=len(report.runs) > 1,
    )
    return text.rstrip() + "\n"
