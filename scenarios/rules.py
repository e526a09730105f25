"""MLPerf's rules for LoadGen's settings, read from the root `mlperf.conf`."""

from pathlib import Path

from record.json_types import Json

ROOT = Path(__file__).resolve().parent.parent
MAX_TOKENS = 128
"""Tokens of an answer, at most."""
_NS_PER_MS = 1_000_000
_SWITCHES = (
    "use_token_latencies",
    "sample_concatenate_permutation",
    "performance_issue_same",
    "performance_issue_unique",
)


def rules(loadgen_model: str, loadgen_scenario: str) -> dict[str, Json]:
    """Return the required value of each LoadGen setting, by TestSettings attribute.

    Units are those of the attributes: ms for durations, ns for latencies, fractions
    for percentiles.
    """
    values: dict[str, str] = {}
    rank: dict[str, int] = {}
    for model, scenario, key, value in _entries(ROOT / "mlperf.conf"):
        if model not in ("*", loadgen_model) or scenario not in ("*", loadgen_scenario):
            continue
        # LoadGen's order: model.scenario, *.scenario, model.*, *.*
        precedence = 2 * (scenario != "*") + (model != "*")
        if precedence >= rank.get(key, -1):
            rank[key], values[key] = precedence, value
    return dict(_attribute(loadgen_scenario, k, v) for k, v in values.items())


def _attribute(scenario: str, key: str, value: str) -> tuple[str, Json]:
    if key in _SWITCHES:
        return key, value == "1"
    if key == "coalesce_queries":
        return f"server_{key}", value == "1"
    if key in ("min_duration", "max_duration"):
        return f"{key}_ms", int(value)
    if key in ("ttft_latency", "tpot_latency"):
        return key, int(value) * _NS_PER_MS
    if key == "target_latency_percentile":
        prefix = "server" if scenario == "Server" else "single_stream"
        return f"{prefix}_{key}", float(value) / 100
    return key, int(value)


def _entries(path: Path) -> list[tuple[str, str, str, str]]:
    entries = []
    for line in path.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text:
            name, _, value = (part.strip() for part in text.partition("="))
            model, scenario, key = name.split(".")
            entries.append((model, scenario, key, value))
    return entries
