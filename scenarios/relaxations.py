"""How run=smoke shortens a run and relaxes LoadGen's rules."""

from base.benchmark import ScenarioName
from conf.schema import Config
from record.json_types import Json
from scenarios.plan import ScenarioPlan

_SMOKE_QPS = 1.0
_SMOKE_QUERIES = {
    ScenarioName.server: 64,
    ScenarioName.interactive: 64,
    ScenarioName.singlestream: 20,
}
# The fewest queries that LoadGen's early stopping accepts grow with the percentile:
# 64 at 0.9, more than 400 at the rules' 0.99.
_SMOKE_PERCENTILE = 0.9
_SMOKE_PERCENTILE_SINGLESTREAM = 0.5
_NS_PER_MS = 1_000_000


def _smoke_rate(plan: ScenarioPlan) -> dict[str, Json]:
    given = plan.has_rate or plan.loadgen_scenario != "Server"
    return {} if given else {"server_target_qps": _SMOKE_QPS}


def relaxations(
    config: Config, plan: ScenarioPlan, num_samples: int
) -> dict[str, Json]:
    """Return the TestSettings attributes that run=smoke sets, with their values.

    Args:
        config: the run's configuration.
        plan: what LoadGen does in it.
        num_samples: size of the data set.
    """
    run = config.run
    queries = run.min_queries or _SMOKE_QUERIES.get(plan.scenario, num_samples)
    relaxed: dict[str, Json] = {
        **_smoke_rate(plan),
        "performance_sample_count_override": num_samples,
        "sample_concatenate_permutation": False,
        "min_query_count": queries,
        "min_duration_ms": int((run.min_duration_s or 0) * 1000),
    }
    if plan.loadgen_scenario == "Server":
        if run.ttft_ms is not None:
            relaxed["ttft_latency"] = int(run.ttft_ms * _NS_PER_MS)
        if run.tpot_ms is not None:
            relaxed["tpot_latency"] = int(run.tpot_ms * _NS_PER_MS)
        relaxed["server_target_latency_percentile"] = (
            run.latency_percentile or _SMOKE_PERCENTILE
        )
    if plan.loadgen_scenario == "SingleStream":
        relaxed["single_stream_target_latency_percentile"] = (
            run.latency_percentile or _SMOKE_PERCENTILE_SINGLESTREAM
        )
    return relaxed
