"""How values, names and headings are written for readers."""

import re

from record.json_types import Json

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
    "scaling.sizes": "Each size against one replica",
    "scaling.losses": "Where efficiency goes",
    "scaling.runs": "Runs",
    "scaling.law": "Universal Scalability Law",
    "scaling.forecast": "Forecast",
    "symmetry.summary": "Spread between nodes and between replicas",
    "symmetry.nodes": "Node by node",
    "symmetry.replicas": "Replica by replica",
    "latency.loadgen": "Latency of the run, by LoadGen",
    "latency.nodes": "Latency of each node",
    "latency.life": "Where a sample's time goes",
    "latency.limits": "Latency limits",
    "latency.outliers": "Slowest samples (outliers)",
    "timeline.episodes": "Episodes",
    "timeline.late": "Late requests and what explains them",
    "timeline.series": "Series over time",
    "tokens.replicas": "Tokens of each replica",
    "resources.memory": "Memory",
    "resources.load": "Load, power and clocks",
    "resources.arithmetic": "How far from the physical limit",
    "resources.engines": "Engine settings",
    "cold_start.nodes": "First sample of each node",
    "cold_start.replicas": "Start of each replica",
    "validity.agreement": "Agreement with LoadGen's own figures",
    "validity.checks": "The gate's checks",
    "configuration.places": "Nodes and replicas",
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


_LABELS = {
    "sample_weighted_mean": "Mean service latency of all samples",
    "mean_of_node_means": "Mean of the nodes' mean service latencies",
    "start_to_ready": "Start until ready",
    "cost_if_measured": "Start until ready, as a share of the run",
    "cold_requests_if_measured": "Slow first requests kept out of the run",
    "sum_of_node_rates": "Sum of the nodes' rates",
    "over_limit": "Answers over the limit",
    "ended_by_length": "Answers cut at the limit",
    "sample_peak": "Fastest sample",
    "sample_lowest": "Slowest sample",
    "episodes_found": "Episodes",
    "arrived_per_s": "Arrival rate",
    "sustained_per_s": "Sustained with a queue",
    "within_limits_per_s": "Sustained within the limits",
    "above_what_is_sustained": "Arrivals against what was sustained",
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
    "method": "How noise is judged",
}
"""Labels of figures whose names do not read as words."""

_HEADINGS = {
    "from": "95% interval from",
    "to": "95% interval to",
    "both": "busy x speed",
    "first sample": "first sample over the fastest",
    "min at": "shortest: sample",
    "max at": "longest: sample",
    "KV used": "KV cache used, mean",
    "KV used, most": "KV cache used, highest",
    "running, most": "running, highest",
    "rest": "activations, graphs, runtime",
    "of peak": "share of peak",
    "of bandwidth": "share of bandwidth",
    "over": "over the limit",
    "p": "p (chance among equals)",
    "penalty": "first over warm request",
}
"""Headings of columns whose names are short for what they hold."""

_SINGULAR = {
    "replicas": "replica",
    "nodes": "node",
    "samples": "sample",
    "tokens": "token",
}


def count(number: int, noun: str) -> str:
    """Return `1 sample`, `2 samples`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def unit_of(figure: dict[str, Json]) -> str:
    """Return a figure's unit as it stands behind its value."""
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
        return (
            f"{cell(value['min'])} to {cell(value['max'])} {unit}: mean"
            f" {cell(value['mean'])}, median {cell(value['p50'])}, p90"
            f" {cell(value['p90'])}"
        )
    text = cell(value)
    return f"{text} {unit}" if unit and value is not None else text


_MARKDOWN = re.compile(r"[\\`*\[\]|~{}#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def markdown(text: str) -> str:
    """Return foreign text so that Markdown shows it as it is, on one line.

    HTML and Markdown in names of nodes and models, or in causes, must not act.
    """
    plain = "".join(
        char if char.isprintable() else " " if char in "\n\t" else repr(char)[1:-1]
        for char in text
    )
    plain = _MARKDOWN.sub(lambda match: f"\\{match.group()}", plain)
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


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
    if name in _LABELS:
        return _LABELS[name]
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
    head = _HEADINGS.get(name, name)
    told = not unit or unit == "seq" or head == unit or head.startswith(f"{unit} ")
    return head if told else f"{head}, {unit}"


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.2g}"
