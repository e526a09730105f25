"""The generated pages of the reference, from the schema, the records and the report.

`python -m tests.docs.reference` writes them into `docs/`; `make docs` does so too.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from conf.help import option_sections
from conf.load import GROUPS, choices
from record import devices, status, structs
from tests.report.findings.page import page as findings
from tests.report.reading import report_of
from tests.report.schema import SCHEMA
from tests.simulated.cluster import Cluster
from tests.simulated.run import write_cluster

DOCS = Path(__file__).resolve().parents[2] / "docs"
_OPTIONS = """# Options
Every option of `mlperf-sut run` and `python -m sut.main`, as the configuration's schema
has it. This page is generated: `make docs` writes it, and a test checks that it is
current. `mlperf-sut run --help` prints the same list.

An option is written `NAME=VALUE`. `mlperf-sut run --dry-run NAME=VALUE ...` shows the
resolved configuration and starts nothing. A run records it as `config.yaml`, and
`mlperf-sut run --config RUN/config.yaml` repeats the run; further options change it.

- Texts and paths are used literally; `~` is the home folder.
- `engine.options` takes lists `[1,2]`, mappings `{a: 1}` and, for special characters,
  `"'quoted text'"`.
- An option that can have no effect in the run is refused (exit code 2).

## Groups
A group selects a whole set of options by name.
"""
_FOLDER = """# The run folder
What a run leaves behind, and what every field means. Each run writes a new folder
`runs/<UTC time>-<scenario>-<mode>/`; `runs/latest` points at the newest one. This page
is generated: `make docs` writes it, and a test checks that it is current.

```
mlperf-sut report runs/latest       # makes the report again from these files
```

Points in time are nanoseconds since the epoch by the coordinator's monotonic clock, so
that setting the host's clock changes nothing. Durations were measured in the replica.

| file | content |
|---|---|
| `config.yaml` | the resolved options; `--config` repeats the run with them |
| `settings.json` | LoadGen's effective settings, the rules and what was relaxed |
| `user.conf` | what LoadGen read |
| `source.json` | digests of the code |
| `mlperf_log_*` | LoadGen's own logs |
| `replicas.json` | the replicas: node, devices, versions, settings, start times |
| `replicas/replica-N.log` | the log of a replica |
| `samples.jsonl` | a line per sample when it is final |
| `events.jsonl` | what went wrong: fences, retries, stalls, aborts |
| `status.json` | the state of the run, each second: `mlperf-sut watch` reads it |
| `telemetry.jsonl` | a line per second for each device, engine and process |
| `steps.bin` | [engine steps](steps.md) |
| `metrics.log` | the log of the process that serves metrics |
| `clock.json` | drift of the host's clock |
| `verdict.json` | the checks of the run with limit, value and outcome |
| `accuracy.txt`, `accuracy.json` | the scores, in accuracy mode |
| `report.*`, `report/` | the report, its tables and plots ([keys](report-keys.md)) |
| `forecast.json` | what `mlperf-sut forecast` computed |

A type that ends in "or null" means that the value may be unknown or may not apply.
"""
_KEYS = """# Keys of report.json
What programs can rely on in a report. `mlperf-sut report RUN` writes `report.json`; its
JSON Schema is `report/report.schema.json` in the package. A figure is an object with
`value`, `unit` and `definition`. A table has `columns` (each with `name`, `unit`,
`definition`) and `rows`.

This page is generated from the schema and from the report of a simulated campaign:
`make docs` writes it, and a test checks that it is current. Every report has the keys
below, except those marked "if it applies".
"""

_ITEMS = {
    "code": "kind of finding, as on the [page of findings](findings.md)",
    "title": "the finding in one sentence",
    "where": "nodes and replicas",
    "evidence": "the measured values",
    "cause": "what explains them",
    "finding": "`code` of the finding that it belongs to",
    "text": "what to do, and how to confirm it",
    "estimate": "the gain, as a figure",
}
_TYPES = (
    (r"Literal\[(.*?)\]", r"\1"),
    (r"Int64|TokenId", "int"),
    (r"Seconds", "float (s)"),
    (r" \| None", " or null"),
    (r"Json\b", "any"),
)
"""How annotations are shown."""


def options_page() -> str:
    """Return the page of all options."""
    lines = [_OPTIONS, *_table("group", "choices")]
    lines += [_row(f"`{name}=`", _codes(choices(name))) for name in GROUPS]
    for title, options in option_sections():
        lines += ["", f"## {title}", *_table("option", "value", "default", "meaning")]
        for one in options:
            values = _codes(one.values.split("|")) if "|" in one.values else one.values
            default = f"`{one.default}`" if one.default else ""
            lines.append(_row(f"`{one.name}`", values, default, one.text))
    return "\n".join(lines) + "\n"


def folder_page() -> str:
    """Return the page of a run folder's files and fields."""
    lines = [_FOLDER]
    for name, text, found in _structs():
        lines += [f"## {name}", text, "", *_table("field", "type", "meaning")]
        lines += [_row(f"`{one}`", kind, meaning) for one, kind, meaning in found]
        lines.append("")
    return "\n".join(lines)


def keys_page() -> str:
    """Return the page of the keys of report.json."""
    with TemporaryDirectory() as folder:
        sizes = [
            write_cluster(
                Path(folder, str(nodes)),
                Cluster(nodes=nodes, minutes=2, scenario="server", load=0.5),
            )
            for nodes in (1, 2)
        ]
        shown = report_of(*sizes)
    lines = [_KEYS]
    for section, keys in shown.items():
        if isinstance(keys, list):
            lines += _item_lines(section)
            continue
        required = SCHEMA["properties"][section]["required"]
        lines += [f"## {section}", *_table("key", "unit", "definition")]
        for name, item in keys.items():
            note = "" if name in required else " (if it applies)"
            if "columns" not in item:
                lines.append(_row(f"`{name}`{note}", item["unit"], item["definition"]))
                continue
            lines.append(_row(f"`{name}`{note}", "table", "columns:"))
            for column in item["columns"]:
                key = f"`{name}` / `{column['name']}`"
                lines.append(_row(key, column["unit"], column["definition"]))
        lines.append("")
    return "\n".join(lines)


PAGES: dict[str, Callable[[], str]] = {
    "findings.md": findings,
    "options.md": options_page,
    "report-keys.md": keys_page,
    "run-folder.md": folder_page,
}


def _item_lines(section: str) -> Iterator[str]:
    kind = SCHEMA["properties"][section]["items"]["$ref"].rpartition("/")[2]
    yield f"## {section}"
    yield f"A list. Each {kind} is an object:"
    yield ""
    yield from _table("key", "meaning")
    for name, rule in SCHEMA["$defs"][kind]["properties"].items():
        values = f"one of {_codes(rule['enum'])}" if "enum" in rule else ""
        yield _row(f"`{name}`", values or rule.get("description") or _ITEMS[name])
    yield ""


def _structs() -> Iterator[tuple[str, str, list[tuple[str, str, str]]]]:
    """Yield the name, docstring and fields of each record, as the source has them."""
    nodes = (*ast.parse(inspect.getsource(structs)).body,)
    nodes += (*ast.parse(inspect.getsource(devices)).body,)
    nodes += (*ast.parse(inspect.getsource(status)).body,)
    for node in nodes:
        if not isinstance(node, ast.ClassDef):
            continue
        found = [
            (item.target.id, _kind(item.annotation), _text_after(node.body, number))
            for number, item in enumerate(node.body)
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        ]
        yield node.name, ast.get_docstring(node) or "", found


def _text_after(body: list[ast.stmt], number: int) -> str:
    after = body[number + 1] if number + 1 < len(body) else None
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
        return str(after.value.value)
    return ""


def _kind(annotation: ast.expr) -> str:
    text = ast.unparse(annotation).replace("'", "")
    for name, plain in _TYPES:
        text = re.sub(name, plain, text)
    return text


def _codes(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _table(*heads: str) -> Iterator[str]:
    yield _row(*heads)
    yield _row(*["---"] * len(heads))


def _row(*cells: str) -> str:
    return f"| {' | '.join(' '.join(cell.split()) for cell in map(_cell, cells))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()
