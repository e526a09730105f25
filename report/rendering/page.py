"""Renders the page and the Markdown file of a report."""

import os
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from record.structs import Json
from report.content import Report
from report.findings.finding import EFFORTS
from report.rendering.conclusion import conclusion
from report.rendering.headline import headline, sizes_of, title
from report.rendering.interactive import digest, live_data, script, style
from report.rendering.plots.canvas import Plot
from report.rendering.words import (
    TABLES,
    TITLES,
    filled,
    heading,
    informative,
    label,
    markdown,
    shown,
    unit_of,
    width,
)
from report.wording import capitalized, cell, count, with_unit

PARTS = "report"
"""Folder beside report.html that holds tables and plots as files of their own."""
MANY = 48
"""Rows above which a table is folded on the page and cut short in Markdown."""
_FILES = {
    "config.yaml": "the resolved configuration, to repeat the run",
    "settings.json": "LoadGen's effective settings",
    "user.conf": "settings that LoadGen read",
    "verdict.json": "checks of the gate",
    "replicas.json": "hardware, versions and start of each replica",
    "samples.jsonl": "one line for each sample",
    "events.jsonl": "faults and retries",
    "telemetry.jsonl": "devices, engines and hosts, once a second",
    "steps.bin": "one record for each engine step",
    "forecast.json": "what another run would do",
    "mlperf_log_summary.txt": "LoadGen's summary",
    "mlperf_log_detail.txt": "LoadGen's detail log",
    "report.json": "every figure of this page",
    "report.md": "this page as Markdown",
}
"""Files of a run folder that the page links to."""
_REPEATED = {
    ("validity", "is_not"),
    ("validity", "state"),
    ("configuration", "relaxed"),
    ("configuration", "run"),
    # These are tables of their own.
    ("configuration", "batching"),
    ("configuration", "model_shape"),
    ("configuration", "seeds"),
    ("configuration", "versions"),
    # These describe one run of a campaign.
    ("scaling", "replicas"),
    ("scaling", "samples_per_s"),
    ("scaling", "tokens_per_s"),
    ("scaling", "wall_time"),
    ("scaling", "sum_of_node_rates"),
}
"""Figures that the page shows at its top, or in another table or section."""


def page_environment() -> Environment:
    """Return what reads this package's templates; its filters are the caller's."""
    return Environment(
        loader=PackageLoader("report.rendering"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _environment() -> Environment:
    """Return the environment of reports, which compiles each template once."""
    environment = page_environment()
    environment.filters |= {
        "capitalized": capitalized,
        "cell": cell,
        "label": label,
        "heading": heading,
        "filled": filled,
        "count": count,
        "markdown": markdown,
        "shown": shown,
        "unit_of": unit_of,
        "width": width,
        "with_unit": with_unit,
    }
    environment.tests["informative"] = informative
    return environment


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
        report: report to render.
        content: content of the report as plain values.
        plots: plots of the report.
        out: folder of the page, for links to the files of the run; None: no links.
    """
    sections = _sections(report)
    content = _without_twins(report, content)
    html = name.endswith(".html")
    live = live_data(report.analysis) if html and "timeline" in sections else None
    code = script()
    text = (
        _environment()
        .get_template(name)
        .render(
            name=report.subject.name,
            title=title(report),
            sizes=sizes_of(report),
            campaign=report.campaign,
            report=content,
            headline=headline(report),
            conclusion=conclusion(report),
            efforts=EFFORTS,
            plots=plots,
            titles={key: title for key, title in TITLES.items() if key in sections},
            repeated=_repeated(report),
            links=_links(report, out),
            captions=TABLES,
            parts=PARTS,
            many=MANY,
            several=report.several,
            live=live,
            live_style=style(),
            script=code,
            digest=digest(code),
        )
    )
    return text.rstrip() + "\n"


def _repeated(report: Report) -> set[tuple[str, str]]:
    """Return the figures and tables that the page does not show a second time."""
    found = set(_REPEATED)
    if len(report.subject.nodes) > 1:
        # With one replica on each node, both tables are the same.
        if report.subject.size == len(report.subject.nodes):
            found |= {("symmetry", "replicas"), ("tokens", "replicas")}
    else:
        # They equal those of all replicas.
        found |= {
            ("symmetry", "nodes"),
            ("latency", "mean_of_node_means"),
            ("tokens", "consistency"),
        }
    if report.subject.size < 2:
        found.add(("tokens", "replicas"))
    return found


def _without_twins(report: Report, content: dict[str, Json]) -> dict[str, Json]:
    """Return the content without the spreads of replicas that are those of nodes."""
    if not 1 < len(report.subject.nodes) == report.subject.size:
        return content
    summary = content["symmetry"]["summary"]
    rows = [row for row in summary["rows"] if "replicas" not in row]
    return content | {
        "symmetry": content["symmetry"] | {"summary": summary | {"rows": rows}}
    }


def _sections(report: Report) -> set[str]:
    """Return the sections that apply to these runs."""
    sections = set(TITLES)
    if not report.several:
        sections.discard("scaling")
    if report.subject.size < 2:
        sections.discard("symmetry")
    if not len(report.subject.done):
        sections -= {"latency", "tokens", "symmetry"}
    if not report.subject.replicas:
        sections -= {"resources", "cold_start"}
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
