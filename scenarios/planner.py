"""Plans a run from its configuration; refuses a run that is not possible."""

from pathlib import Path

from base.benchmark import MAX_TOKENS, SCENARIOS, Benchmark, ScenarioName
from base.errors import UserError
from base.files import carried_path, data_path
from conf.engines import VllmConfig
from conf.schema import Config, Mode, RunKind, Weights
from scenarios.plan import ScenarioPlan, refuse_too_many, relaxations
from scenarios.rules import datacenter_model, rules

_LOADGEN_SCENARIOS = {
    ScenarioName.offline: "Offline",
    ScenarioName.server: "Server",
    ScenarioName.interactive: "Server",
    ScenarioName.singlestream: "SingleStream",
}
_SMOKE_ONLY = (
    "min_queries",
    "min_duration_s",
    "ttft_ms",
    "tpot_ms",
    "latency_percentile",
    "loadgen_seed",
)


def plan_scenario(config: Config, num_samples: int) -> ScenarioPlan:
    """Return the plan of LoadGen's settings.

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
    if scenario not in SCENARIOS[benchmark]:
        known = ", ".join(s.value for s in SCENARIOS[benchmark])
        raise UserError(
            f"scenario={scenario.value} is not part of benchmark={benchmark.value},"
            f" which has {known}; give one of these"
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
        and config.model.weights is not Weights.dummy
        and config.dataset.max_output_tokens == MAX_TOKENS,
        max_output_tokens=config.dataset.max_output_tokens,
        rules=rules(loadgen_model, loadgen_scenario),
        user_conf="\n".join([*given, *added]) + "\n",
        adds_a_line=bool(added),
        user_conf_source=_source(config),
        audit_conf=_audit_conf(config),
    )
    if config.run.kind is RunKind.full:
        _refuse_broken_rules(config, plan, num_samples)
    else:
        plan.relaxations = relaxations(config, plan, num_samples)
        plan.notes += _unused_sizes(plan)
    if config.cluster.longest_first and plan.streaming:
        # No error: the runs of a submission share their options.
        plan.notes.append(
            "note: cluster.longest_first has no effect in this run:"
            f" scenario={scenario.value} keeps the order of arrival"
        )
    refuse_too_many(plan, num_samples)
    return plan


def _loadgen_model(benchmark: Benchmark, scenario: ScenarioName) -> str:
    if benchmark is Benchmark.edge:
        return "llama3_1-8b-edge"
    return datacenter_model(scenario)


def _user_conf(
    config: Config, model: str, scenario: str
) -> tuple[list[str], list[str]]:
    """Return the lines of the file, and the line that an option adds."""
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
                f"run.{name} relaxes LoadGen's rules; use it with run=smoke only"
            )
    if config.dataset.max_output_tokens != MAX_TOKENS:
        raise UserError(
            f"dataset.max_output_tokens={config.dataset.max_output_tokens}: run=full"
            f" keeps MLPerf's {MAX_TOKENS} tokens; use it with run=smoke only"
        )
    required = plan.rules["performance_sample_count_override"]
    if num_samples != required:
        raise UserError(
            f"run=full benchmark={plan.benchmark.value} needs the data set of"
            f" {required} samples; dataset={config.dataset.name} has {num_samples};"
            " use run=smoke for other data"
        )
    if plan.loadgen_scenario != "SingleStream" and not plan.has_rate:
        raise UserError(
            f"run=full scenario={plan.scenario.value} needs scenario.target_qps: the"
            " arrival rate (Server, Interactive), or the expected samples/s that size"
            " the run (Offline; a smoke run measures them)" + _set_elsewhere(plan)
        )
    if isinstance(config.engine, VllmConfig) and config.engine.options.get(
        "enable_prefix_caching"
    ):
        raise UserError(
            "engine.options.enable_prefix_caching: run=full allows no caching across"
            " queries; leave it out"
        )


def _set_elsewhere(plan: ScenarioPlan) -> str:
    lines = plan.lines_elsewhere("target_qps")
    if not lines:
        return ""
    names = ", ".join(f"line {line.number} ({line.name})" for line in lines)
    return (
        f"; {plan.user_conf_source} sets it only for others: {names}, not for"
        f" {plan.loadgen_model}.{plan.loadgen_scenario}"
    )


def _unused_sizes(plan: ScenarioPlan) -> list[str]:
    """Return a note if user.conf sets the size of other runs, but not of this one."""
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
