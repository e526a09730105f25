"""Turns a configuration into what LoadGen is to be told; refuses what cannot be."""

from dataclasses import dataclass, field
from pathlib import Path

from base.data import carried_path, data_path
from base.errors import UserError
from base.memory import available_bytes
from conf.schema import (
    Benchmark,
    Config,
    Mode,
    RunKind,
    ScenarioName,
    VllmConfig,
    Weights,
)
from record.json_types import Json
from scenarios.rules import rules
from scenarios.user_conf import ConfLine, effective_lines, parse_conf

_LOADGEN_SCENARIOS = {
    ScenarioName.offline: "Offline",
    ScenarioName.server: "Server",
    ScenarioName.interactive: "Server",
    ScenarioName.singlestream: "SingleStream",
}
_SCENARIOS_OF = {
    Benchmark.datacenter: (
        ScenarioName.offline,
        ScenarioName.server,
        ScenarioName.interactive,
    ),
    Benchmark.edge: (ScenarioName.offline, ScenarioName.singlestream),
}
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
_SMOKE_ONLY = (
    "min_queries",
    "min_duration_s",
    "ttft_ms",
    "tpot_ms",
    "latency_percentile",
)
_NS_PER_MS = 1_000_000
_BYTES_PER_QUERY = 800
"""Of LoadGen and of the coordinator, measured with 1,000,000 samples."""
_MARGIN = 1.1
"""What LoadGen adds to the number that the duration needs."""


@dataclass(slots=True, kw_only=True)
class ScenarioPlan:
    """What LoadGen is to be told for one run."""

    benchmark: Benchmark
    scenario: ScenarioName
    mode: Mode
    kind: RunKind
    loadgen_model: str
    loadgen_scenario: str
    is_benchmark: bool
    rules: dict[str, Json]
    user_conf: str
    """Text of the user.conf that LoadGen reads."""
    user_conf_source: str
    """What its file is called in messages: the user's own, or this package's."""
    audit_conf: str | None
    """Text of the audit file; None outside compliance mode."""
    adds_a_line: bool
    """Whether the last line of `user_conf` is from an option of the command line."""
    relaxations: dict[str, Json] = field(default_factory=dict)
    """TestSettings attributes that run=smoke sets after user.conf was read."""
    notes: list[str] = field(default_factory=list)
    """What the user should know of it, one line each."""

    @property
    def streaming(self) -> bool:
        """Whether LoadGen is told of each sample's first token."""
        return self.loadgen_scenario != "Offline"

    @property
    def lines(self) -> list[ConfLine]:
        """The lines of `user_conf`, in its order."""
        return parse_conf(self.user_conf, self.user_conf_source)

    @property
    def set_lines(self) -> dict[str, ConfLine]:
        """The lines of `user_conf` that count in this run, by their key."""
        return effective_lines(self.lines, self.loadgen_model, self.loadgen_scenario)

    @property
    def has_rate(self) -> bool:
        """Whether user.conf, the user's own included, sets target_qps."""
        return "target_qps" in self.set_lines

    @property
    def needs_latency(self) -> bool:
        """Whether LoadGen must still be told how long a SingleStream query takes."""
        return (
            self.loadgen_scenario == "SingleStream"
            and "target_latency" not in self.set_lines
        )

    def lines_elsewhere(self, key: str) -> list[ConfLine]:
        """Return the lines that set `key` for other models or scenarios alone."""
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


def plan_scenario(config: Config, num_samples: int) -> ScenarioPlan:
    """Return what LoadGen is to be told.

    Args:
        config: the run's configuration.
        num_samples: size of the data set.

    Raises:
        UserError: the scenario is not part of the benchmark, a value is missing,
            a file cannot be read, or run=full would break a rule.
    """
    scenario = config.scenario.name
    benchmark = config.benchmark or (
        Benchmark.edge
        if scenario is ScenarioName.singlestream
        else Benchmark.datacenter
    )
    if scenario not in _SCENARIOS_OF[benchmark]:
        known = ", ".join(s.value for s in _SCENARIOS_OF[benchmark])
        raise UserError(
            f"scenario={scenario.value}: benchmark={benchmark.value} has {known}"
        )
    loadgen_model = _loadgen_model(benchmark, scenario)
    loadgen_scenario = _LOADGEN_SCENARIOS[scenario]
    given, added = _user_conf(config, loadgen_model, loadgen_scenario)
    plan = ScenarioPlan(
        benchmark=benchmark,
        scenario=scenario,
        mode=config.mode,
        kind=config.run.kind,
        loadgen_model=loadgen_model,
        loadgen_scenario=loadgen_scenario,
        is_benchmark=isinstance(config.engine, VllmConfig)
        and config.model.is_benchmark
        and config.dataset.is_benchmark
        and config.model.weights is not Weights.dummy,
        rules=rules(loadgen_model, loadgen_scenario),
        user_conf="\n".join([*given, *added]) + "\n",
        adds_a_line=bool(added),
        user_conf_source=_source(config),
        audit_conf=_audit_conf(config),
    )
    if config.run.kind is RunKind.full:
        _refuse_broken_rules(config, plan, num_samples)
    else:
        plan.relaxations = _relaxations(config, plan, num_samples)
        plan.notes += _unused_sizes(plan)
    if config.cluster.longest_first and plan.streaming:
        # No error: the runs of a submission share their options.
        plan.notes.append(
            "note: cluster.longest_first has no effect in this run:"
            f" scenario={scenario.value} keeps the order of arrival"
        )
    _refuse_too_many(plan, num_samples)
    return plan


def _loadgen_model(benchmark: Benchmark, scenario: ScenarioName) -> str:
    if benchmark is Benchmark.edge:
        return "llama3_1-8b-edge"
    if scenario is ScenarioName.interactive:
        return "llama3_1-8b-interactive"
    return "llama3_1-8b"


def _user_conf(
    config: Config, model: str, scenario: str
) -> tuple[list[str], list[str]]:
    """Return the lines of the file, and the one that an option adds."""
    path = Path(config.run.user_conf or carried_path("user.conf"))
    given = _read(path, "run.user_conf").rstrip().splitlines()
    if config.scenario.target_qps is not None and scenario != "SingleStream":
        rate = config.scenario.target_qps
        return given, [f"{model}.{scenario}.target_qps = {rate:g}"]
    if config.scenario.expected_latency_ms is not None and scenario == "SingleStream":
        latency = config.scenario.expected_latency_ms
        return given, [f"{model}.{scenario}.target_latency = {latency:g}"]
    return given, []


def _source(config: Config) -> str:
    return (
        f"run.user_conf={config.run.user_conf}"
        if config.run.user_conf
        else ("this package's user.conf")
    )


def _audit_conf(config: Config) -> str | None:
    if config.mode is not Mode.compliance:
        return None
    own = data_path("scenarios", "test06.config")
    path = Path(config.run.audit_conf or own)
    return _read(path, "run.audit_conf")


def _read(path: Path, option: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{option}={path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{option}={path}: not a text file") from error


def _refuse_broken_rules(config: Config, plan: ScenarioPlan, num_samples: int) -> None:
    for name in _SMOKE_ONLY:
        if getattr(config.run, name) is not None:
            raise UserError(
                f"run.{name} relaxes LoadGen's rules; leave it to run=smoke"
            )
    required = plan.rules["performance_sample_count_override"]
    if num_samples != required:
        raise UserError(
            f"run=full benchmark={plan.benchmark.value} needs the data set of"
            f" {required} samples; dataset={config.dataset.name} has {num_samples}"
        )
    if plan.loadgen_scenario != "SingleStream" and not plan.has_rate:
        raise UserError(
            f"run=full scenario={plan.scenario.value} needs scenario.target_qps: the"
            " arrival rate (Server, Interactive), or the expected samples/s that size"
            " the run (Offline; a smoke run measures them)" + _told_elsewhere(plan)
        )
    if isinstance(config.engine, VllmConfig) and config.engine.options.get(
        "enable_prefix_caching"
    ):
        raise UserError(
            "engine.options.enable_prefix_caching: run=full allows no caching across"
            " queries; leave it out"
        )


def _told_elsewhere(plan: ScenarioPlan) -> str:
    lines = plan.lines_elsewhere("target_qps")
    if not lines:
        return ""
    names = ", ".join(f"line {line.number} ({line.name})" for line in lines)
    return (
        f"; {plan.user_conf_source} sets it for others alone: {names}, not for"
        f" {plan.loadgen_model}.{plan.loadgen_scenario}"
    )


def _unused_sizes(plan: ScenarioPlan) -> list[str]:
    """Return a note where user.conf sizes runs, but not this one."""
    single = plan.loadgen_scenario == "SingleStream"
    key = "target_latency" if single else "target_qps"
    lines = plan.lines_elsewhere(key)
    if key in plan.set_lines or not lines:
        return []
    names = ", ".join(f"line {line.number} ({line.name})" for line in lines)
    return [
        f"note: {plan.user_conf_source}: {names} has no effect in this run, which is"
        f" {plan.loadgen_model}.{plan.loadgen_scenario}"
    ]


def _refuse_too_many(plan: ScenarioPlan, num_samples: int) -> None:
    """Refuse a run whose queries do not fit into memory.

    LoadGen makes them all before its clock starts, and crashes where it gets no memory.
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


def _smoke_rate(plan: ScenarioPlan) -> dict[str, Json]:
    given = plan.has_rate or plan.loadgen_scenario != "Server"
    return {} if given else {"server_target_qps": _SMOKE_QPS}


def _relaxations(
    config: Config, plan: ScenarioPlan, num_samples: int
) -> dict[str, Json]:
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
