"""The performance run, from LoadGen's own log."""

from collections.abc import Iterator
from datetime import datetime

from base.benchmark import SERVER_SCENARIOS, ScenarioName
from conf.schema import Mode
from record.structs import Json
from submission.checks.loaded import AGAIN, LoadedResult, LoadedRun, TreeFinding

SEEDS = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")
_SETTINGS = {
    "effective_performance_sample_count": "performance_sample_count_override",
    "effective_sample_concatenate_permutation": "sample_concatenate_permutation",
    "effective_performance_issue_same": "performance_issue_same",
    "effective_performance_issue_unique": "performance_issue_unique",
    "effective_max_query_count": "max_query_count",
    "effective_max_duration_ms": "max_duration_ms",
    "requested_use_token_latencies": "use_token_latencies",
}
_SERVER_SETTINGS = {
    "requested_server_ttft_latency": "ttft_latency",
    "requested_server_tpot_latency": "tpot_latency",
}
_LIMITS = (
    ("TTFT", "result_first_token_99.00_percentile_latency_ns", "ttft_latency"),
    ("TPOT", "result_time_per_output_token_99.00_percentile_ns", "tpot_latency"),
)
_CLOCK = "%m-%d-%Y %H:%M:%S.%f"


def performance_findings(result: LoadedResult) -> Iterator[TreeFinding]:
    """Yield what is wrong with the performance run."""
    run = result.runs.get(Mode.performance)
    if run is None or result.scenario is None:
        return
    values = run.log.values
    validity = values.get("result_validity")
    if validity != "VALID":
        reason = str(values.get("result_invalid_reason", "")).strip()
        yield _finding(run, "validity", f"LoadGen says {validity}. {reason}".strip())
    yield from _settings(result, run)
    yield from _length(result, run)
    if result.scenario in SERVER_SCENARIOS:
        yield from _latencies(result, run)


def _settings(result: LoadedResult, run: LoadedRun) -> Iterator[TreeFinding]:
    values, rules = run.log.values, result.rules
    for seed in SEEDS:
        if values.get(f"effective_{seed}") != rules[seed]:
            yield _finding(
                run,
                "seeds",
                f"{seed} is {values.get(f'effective_{seed}')}, this round has"
                f" {rules[seed]}",
            )
    wanted = dict(_SETTINGS)
    if result.scenario in SERVER_SCENARIOS:
        wanted |= _SERVER_SETTINGS
    for key, rule in wanted.items():
        if values.get(key) != rules[rule]:
            yield _finding(
                run, rule, f"{key} is {values.get(key)}, the rules have {rules[rule]}"
            )
    setting = values.get("effective_min_duration_ms", 0)
    if setting < rules["min_duration_ms"]:
        yield _finding(
            run,
            "min_duration",
            f"min_duration is {setting} ms, the rules have"
            f" {rules['min_duration_ms']} ms",
        )


def _length(result: LoadedResult, run: LoadedRun) -> Iterator[TreeFinding]:
    values, rules = run.log.values, result.rules
    try:
        begin, end = (
            datetime.strptime(values[key], _CLOCK)
            for key in ("power_begin", "power_end")
        )
        lasted_s = (end - begin).total_seconds()
    except (KeyError, TypeError, ValueError):
        lasted_s = 0.0
    if lasted_s < rules["min_duration_ms"] / 1000:
        yield _finding(run, "duration", f"the run lasted {lasted_s:.1f} s, not 600 s")
    issued = _count(values, "result_query_count")
    if result.scenario is ScenarioName.offline:
        issued *= _count(values, "generated_samples_per_query")
    whole = int(rules["performance_sample_count_override"])
    if issued < whole or (
        result.scenario is not ScenarioName.singlestream and issued % whole
    ):
        yield _finding(
            run, "counts", f"{issued} samples are no whole passes over {whole}"
        )


def _latencies(result: LoadedResult, run: LoadedRun) -> Iterator[TreeFinding]:
    for name, key, rule in _LIMITS:
        value, limit = run.log.values.get(key), result.rules[rule]
        if value is None or value >= limit:
            shown = "missing" if value is None else f"{value / 1e6:.1f} ms"
            yield _finding(
                run,
                "latency",
                f"p99 of {name} is {shown}, {result.folder.scenario} allows"
                f" {limit / 1e6:g} ms",
            )


def _count(values: dict[str, Json], key: str) -> int:
    return int(values.get(key) or 0)


def _finding(run: LoadedRun, check: str, problem: str) -> TreeFinding:
    path = run.folder.detail_log
    return TreeFinding(check=check, path=path, problem=problem, remedy=AGAIN)
