"""Writes report.json, report.md and report.html of a run folder."""

from pathlib import Path

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from record.folder import RunFolder, write_json, write_text
from record.json_types import Json
from report import plots, sections
from report.findings import findings
from report.run import Run, read_run

KEYS = (
    "configuration",
    "scaling",
    "symmetry",
    "resources",
    "latency",
    "tokens",
    "cold_start",
    "findings",
    "recommendations",
    "validity",
)


def write_report(folder: RunFolder) -> Path:
    """Write the report of the run in `folder`; return the path of its page.

    Raises:
        RecordError: a file of the folder is missing or damaged.
        OSError: the report cannot be written.
    """
    run = read_run(folder.path)
    content = report_content(run)
    write_json(folder / "report.json", content)
    environment = Environment(
        loader=PackageLoader("report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    values = {
        "name": folder.path.resolve().name,
        "report": content,
        "plots": [
            ("Samples over time", plots.timeline(run)),
            ("Service latency", plots.service_ecdf(run)),
        ],
    }
    for name in ("report.md", "report.html"):
        text = environment.get_template(name).render(values)
        write_text(folder / name, text.rstrip() + "\n")
    return folder / "report.html"


def report_content(run: Run) -> dict[str, Json]:
    """Return what report.json holds, as plain JSON values."""
    content = {
        "configuration": sections.configuration(run),
        "scaling": sections.scaling(run),
        "symmetry": sections.symmetry(run),
        "resources": sections.resources(run),
        "latency": sections.latency(run),
        "tokens": sections.tokens(run),
        "cold_start": sections.cold_start(run),
        "findings": findings(run),
        "recommendations": [],
        "validity": sections.validity(run),
    }
    assert tuple(content) == KEYS
    plain: dict[str, Json] = msgspec.to_builtins(content)
    return plain


def _cell(value: Json) -> str:
    """Return a value as a reader wants to see it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        # Seeds are names rather than amounts.
        return f"{value:,}" if abs(value) < 10**12 else str(value)
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    return str(value)
