"""How values, names and headings are written for readers."""

from record.json_types import Json

TITLES = {
    "scaling": "Scaling",
    "symmetry": "Symmetry",
    "latency": "Latency",
    "tokens": "Tokens",
    "resources": "Resources",
    "cold_start": "Cold start",
    "validity": "Validity",
    "configuration": "Configuration",
}
"""Sections by key of report.json, in the order in which they are read."""

TABLES = {
    "scaling.rates": "Rates that were found",
    "scaling.sizes": "Each size against one replica",
    "scaling.losses": "Where efficiency goes",
    "scaling.runs": "Runs",
    "scaling.law": "Universal Scalability Law",
    "scaling.forecast": "Forecast",
    "symmetry.summary": "How even",
    "symmetry.nodes": "Node by node",
    "symmetry.replicas": "Replica by replica",
    "latency.nodes": "Latency of each node",
    "latency.life": "A sample's life",
    "latency.limits": "Limits",
    "latency.outliers": "Outliers",
    "tokens.replicas": "Tokens of each replica",
    "resources.memory": "Memory",
    "resources.load": "Load, power and clocks",
    "resources.arithmetic": "How far from the physical limit",
    "resources.engines": "Engine settings",
    "cold_start.nodes": "First sample of each node",
    "cold_start.replicas": "Start of each replica",
    "validity.agreement": "Agreement with LoadGen's own figures",
    "validity.checks": "The gate's checks",
    "configuration.places": "Places",
    "configuration.settings": "LoadGen's settings",
}
"""Captions of tables by section and name."""

_NAMES = {
    "ttft": "TTFT",
    "tpot": "TPOT",
    "loadgen": "LoadGen",
    "qsl": "QSL",
    "kv": "KV",
}


def cell(value: Json) -> str:
    """Return a value as a reader wants to see it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        # Seeds are names rather than amounts.
        return f"{value:,}" if abs(value) < 10**12 else str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(cell(item) for item in value)
    return str(value)


def label(name: str) -> str:
    """Return a figure's name as words."""
    words = [_NAMES.get(word, word) for word in name.split("_")]
    text = " ".join(words).replace("tokens per s", "tokens/s")
    text = text.replace("samples per s", "samples/s")
    return text[0].upper() + text[1:]


def filled(table: dict[str, Json]) -> dict[str, Json]:
    """Return a table without the columns that hold nothing in this run."""
    columns, rows = table["columns"], table["rows"]
    keep = [
        place
        for place in range(len(columns))
        if place == 0 or any(row[place] not in (None, "") for row in rows)
    ]
    return {
        "columns": [columns[place] for place in keep],
        "rows": [[row[place] for place in keep] for row in rows],
    }


def heading(column: dict[str, str]) -> str:
    """Return a column's name with its unit."""
    name, unit = column["name"], column["unit"]
    shown = unit if unit and unit not in (name, "seq") else ""
    return f"{name}, {shown}" if shown else name


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.2g}"
