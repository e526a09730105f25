"""The plan of one run: LoadGen's settings before LoadGen reads them, and its size."""

from dataclasses import dataclass, field

from base.benchmark import Benchmark, ScenarioName
from base.errors import UserError
from base.memory import available_bytes
from conf.schema import Config, Mode, RunKind
from record.structs import Json
from scenarios.rules import ConfLine, effective_lines, parse_conf


@dataclass(slots=True, kw_only=True)
class ScenarioPlan:
    """The settings of LoadGen for one run, before LoadGen reads them."""

    benchmark: Benchmark
    scenario: ScenarioName
    mode: Mode
    kind: RunKind
    loadgen_model: str
    loadgen_scenario: str
    is_benchmark: bool
    max_output_tokens: int
    rules: dict[str, Json]
    user_conf: str
    """Text of the user.conf that LoadGen reads."""
    user_conf_source: str
    """Name of its file in messages: the user's own, or this package's."""
    audit_conf: str | None
    """Text of the audit file; None except in compliance mode."""
    adds_a_line: bool
    """Whether the last line of `user_conf` comes from an option."""
    relaxations: dict[str, Json] = field(default_factory=dict)
    """TestSettings attributes that run=smoke sets after user.conf was read."""
    notes: list[str] = field(default_factory=list)
    """Notes for the user, one line each."""

    @property
    def streaming(self) -> bool:
        """Whether each sample's first token is reported to LoadGen."""
        return self.loadgen_scenario != "Offline"

    @property
    def lines(self) -> list[ConfLine]:
        """The lines of `user_conf`, in its order."""
        return parse_conf(self.user_conf, self.user_conf_source)

    @property
    def set_lines(self) -> dict[str, ConfLine]:
        """The lines of `user_conf` that apply to this run, by their key."""
        return effective_lines(self.lines, self.loadgen_model, self.loadgen_scenario)

    @property
    def has_rate(self) -> bool:
        """Whether `user_conf` sets target_qps for this run."""
        return "target_qps" in self.set_lines

    @property
    def needs_latency(self) -> bool:
        """Whether SingleStream's expected latency must still be measured and set."""
        return (
            self.loadgen_scenario == "SingleStream"
            and "target_latency" not in self.set_lines
        )

    def lines_elsewhere(self, key: str) -> list[ConfLine]:
        """Return the lines that set `key` only for other models or scenarios."""
        return [
            line
            for line in self.lines
            if line.key == key
            and not line.is_for(self.loadgen_model, self.loadgen_scenario)
        ]

    def expected_samples(self, num_samples: int) -> int | None:
        """Return how many samples LoadGen will issue; None where it decides later.

        Args:
            num_samples: size of the data set.
        """
        if self.mode is Mode.accuracy:
            return num_samples
        if self.mode is Mode.compliance or self.kind is RunKind.full:
            return None
        if self.relaxations["min_duration_ms"]:
            return None
        return int(self.relaxations["min_query_count"])


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
_SEEDS = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")


def _smoke_rate(plan: ScenarioPlan) -> dict[str, Json]:
    given = plan.has_rate or plan.loadgen_scenario != "Server"
    return {} if given else {"server_target_qps": _SMOKE_QPS}


def relaxations(
    config: Config, plan: ScenarioPlan, num_samples: int
) -> dict[str, Json]:
    """Return the TestSettings attributes that run=smoke sets, with their values.

    Args:
        config: the run's configuration.
        plan: LoadGen's settings for it.
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
    if run.loadgen_seed is not None:
        for place, name in enumerate(_SEEDS):
            relaxed[name] = run.loadgen_seed + place
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


_BYTES_PER_QUERY = 800
"""Memory in LoadGen and the coordinator, measured with 1,000,000 samples."""
_MARGIN = 1.1
"""LoadGen makes 10% more queries than the duration needs."""


def refuse_too_many(plan: ScenarioPlan, num_samples: int) -> None:
    """Refuse a run whose queries do not fit into memory.

    LoadGen makes all of them before its clock starts, and crashes without memory.
    """
    queries = _planned_queries(plan, num_samples)
    free = available_bytes()
    if free is not None and queries * _BYTES_PER_QUERY > free:
        needed = queries * _BYTES_PER_QUERY
        raise UserError(
            f"about {queries:,.0f} queries need {needed / 2**30:,.1f} GiB of memory,"
            f" and {free / 2**30:,.1f} GiB are free; lower run.min_queries, the"
            " duration or the rate"
        )


def _planned_queries(plan: ScenarioPlan, num_samples: int) -> float:
    """Return about how many samples LoadGen will issue."""
    if plan.mode is Mode.accuracy:
        return num_samples
    values = plan.rules | plan.relaxations
    duration_s = float(values.get("min_duration_ms", 0)) / 1000
    lines = plan.set_lines
    if plan.loadgen_scenario == "SingleStream":
        expected = lines.get("target_latency")
        rate = 1000 / _number(expected) if expected and _number(expected) > 0 else 0.0
    else:
        given = lines.get("target_qps")
        rate = _number(given) if given else float(values.get("server_target_qps", 0))
    return max(float(values.get("min_query_count", 0)), _MARGIN * rate * duration_s)


def _number(line: ConfLine) -> float:
    try:
        return float(line.value)
    except ValueError:
        return 0.0  # LoadGen refuses it by name
