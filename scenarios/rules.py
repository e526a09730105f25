"""MLPerf's rules for LoadGen's settings, read from the root `mlperf.conf`."""

from base.data import carried_path
from record.json_types import Json
from scenarios.user_conf import effective_lines, parse_conf

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
    path = carried_path("mlperf.conf")
    lines = parse_conf(path.read_text(), path.name)
    found = effective_lines(lines, loadgen_model, loadgen_scenario)
    return dict(_attribute(loadgen_scenario, k, v.value) for k, v in found.items())


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
