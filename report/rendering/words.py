"""How values, names and headings of report.json are written for readers."""

import re

from record.structs import Json
from report.wording import cell, with_unit

TITLES = {
    "scaling": "Scaling",
    "timeline": "Timeline",
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
    "scaling.sizes": "Each size compared with one replica",
    "scaling.losses": "Where efficiency is lost",
    "scaling.runs": "Runs",
    "scaling.law": "Universal Scalability Law",
    "scaling.forecast": "Forecast",
    "symmetry.summary": "Spread between nodes and between replicas",
    "symmetry.side_by_side": "Nodes side by side",
    "symmetry.nodes": "Nodes",
    "symmetry.replicas": "Replicas",
    "latency.loadgen": "Latency of the run, by LoadGen",
    "latency.limits": "Latency limits",
    "latency.nodes": "Latency by node",
    "latency.breakdown": "Stages of latency",
    "latency.outliers": "Slowest samples (outliers)",
    "timeline.episodes": "Episodes",
    "timeline.late": "Late requests and what explains them",
    "timeline.series": "Series over time",
    "tokens.replicas": "Tokens by replica",
    "tokens.answers": "Answers by replica",
    "resources.memory": "Memory",
    "resources.load": "Load, power and clocks",
    "resources.health": "Health of devices, links and cores",
    "resources.arithmetic": "Distance from the physical limit",
    "cold_start.nodes": "First sample of each node",
    "cold_start.replicas": "Start of each replica",
    "validity.agreement": "Agreement with LoadGen's own figures",
    "validity.checks": "Checks of the gate",
    "configuration.hosts": "Nodes and replicas",
    "configuration.software": "Software",
    "configuration.engine_settings": "Engine settings",
    "configuration.model_properties": "Model",
    "configuration.settings": "LoadGen's settings",
}
"""Captions of tables by section and name."""

_NAMES = {
    "ttft": "TTFT",
    "tpot": "TPOT",
    "loadgen": "LoadGen",
    "qsl": "QSL",
    "kv": "KV",
    "sha256": "SHA-256",
    "dataset": "data set",
}

_LABELS = {
    "sample_weighted_mean": "Mean service latency of all samples",
    "mean_of_node_means": "Mean of the nodes' mean service latencies",
    "start_to_ready": "Start to ready",
    "cost_if_measured": "Start to ready, as a share of the run",
    "cold_requests_if_measured": "Cold requests that warm-up kept out of the run",
    "sum_of_node_rates": "Sum of the nodes' rates",
    "over_limit": "Answers over the limit",
    "ended_by_length": "Answers cut at the limit",
    "sample_peak": "Fastest sample",
    "sample_lowest": "Slowest sample",
    "episodes_found": "Episodes",
    "arrived_per_s": "Arrival rate",
    "sustained_per_s": "Rate when saturated",
    "within_limits_per_s": "Highest rate within the limits",
    "forecast_per_s": "Highest rate within the limits, by forecast",
    "above_what_is_sustained": "Arrival rate compared with these rates",
    "gpu_in_bursts": "GPU in bursts of arrivals",
    "late_ttft": "Late first tokens",
    "late_tpot": "Late output tokens",
    "change_points": "How episodes are found",
    "consistency": "Evenness of the nodes' speeds per sample",
    "agrees_with_loadgen": "Agrees with LoadGen",
    "is_not": "Not an MLPerf result",
    "relaxed": "Relaxed settings",
    "notes": "Not recorded",
    "success_status": "Status of the success rate",
    "method": "Statistical method",
}
"""Labels of figures whose names do not read as words."""

_LONG_CELL = 28
"""Characters above which the text of a cell wraps."""
_CELL_PADDING = 3
_SINGULAR = {
    "replicas": "replica",
    "nodes": "node",
    "samples": "sample",
    "tokens": "token",
}


def unit_of(figure: dict[str, Json]) -> str:
    """Return a figure's unit as it follows its value."""
    unit = str(figure["unit"])
    return _SINGULAR.get(unit, unit) if figure["value"] == 1 else unit


def shown(figure: dict[str, Json]) -> str:
    """Return a figure's value with its unit; one of several parts as a sentence."""
    value, unit = figure["value"], unit_of(figure)
    if isinstance(value, dict) and "seq" in value:
        return (
            f"{cell(value['value'])} {unit}: sample {cell(value['seq'])}, replica"
            f" {cell(value['replica'])} on {cell(value['node'])}"
        )
    if isinstance(value, dict) and {"min", "mean", "max"} <= set(value):
        if value["min"] == value["max"]:
            return f"{cell(value['min'])} {unit} each"
        return (
            f"{cell(value['min'])} to {cell(value['max'])} {unit}: mean"
            f" {cell(value['mean'])}, median {cell(value['p50'])}, p90"
            f" {cell(value['p90'])}"
        )
    text = cell(value)
    return with_unit(text, unit) if value is not None else text


_MARKDOWN = re.compile(r"[\\`*\[\]|~{}#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def markdown(text: str) -> str:
    """Return foreign text escaped for Markdown, on one line.

    HTML and Markdown in names of nodes and models, or in causes, must have no effect.
    """
    plain = "".join(
        char if char.isprintable() else " " if char in "\n\t" else repr(char)[1:-1]
        for char in text
    )
    plain = _MARKDOWN.sub(lambda match: f"\\{match.group()}", plain)
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def label(name: str) -> str:
    """Return a figure's name as words."""
    if name in _LABELS:
        return _LABELS[name]
    words = [_NAMES.get(word, word) for word in name.split("_")]
    text = " ".join(words).replace("tokens per s", "tokens/s")
    text = text.replace("samples per s", "samples/s")
    text = text.replace("samples/sample", "samples per sample")
    text = text.replace("tokens/sample", "tokens per sample")
    return text[0].upper() + text[1:]


def filled(table: dict[str, Json]) -> dict[str, Json]:
    """Return a table without the columns that are empty in this run."""
    columns, rows = table["columns"], table["rows"]
    keep = [
        index
        for index in range(len(columns))
        if index == 0 or any(row[index] not in (None, "") for row in rows)
    ]
    return {
        "columns": [columns[index] for index in keep],
        "rows": [[row[index] for index in keep] for row in rows],
    }


def informative(table: dict[str, Json]) -> bool:
    """Whether a table has rows, and more in them than their names."""
    return bool(table["rows"]) and len(filled(table)["columns"]) > 1


def width(table: dict[str, Json]) -> int:
    """Return the estimated width of a table in characters."""
    total = 0
    for index, column in enumerate(table["columns"]):
        cells = [len(cell(row[index])) for row in table["rows"]]
        words = [len(word) for word in heading(column).split()]
        total += max(*words, min(_LONG_CELL, max(cells, default=0))) + _CELL_PADDING
    return total


def heading(column: dict[str, str]) -> str:
    """Return a column's heading with its unit."""
    head, unit = column.get("heading") or column["name"], column["unit"]
    known = not unit or unit == "seq" or head == unit or head.startswith(f"{unit} ")
    return head if known else f"{head}, {unit}"
