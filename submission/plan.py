"""Which runs a submission needs, in which order, and how long each takes."""

from dataclasses import dataclass

from base.benchmark import (
    COMPLIANCE_SAMPLES,
    SAMPLES,
    SERVER_SCENARIOS,
    TITLES,
    Benchmark,
    ScenarioName,
)
from base.errors import UserError
from conf.engines import VllmConfig
from conf.load import load_config
from conf.schema import Config, Mode
from scenarios.plan import ScenarioPlan
from scenarios.planner import plan_scenario
from scenarios.schedule import (
    ServerSchedule,
    offline_samples,
    singlestream_expected_s,
    singlestream_queries,
)
from submission.request import Request


@dataclass(slots=True, kw_only=True)
class PlannedRun:
    """One run of the submission."""

    scenario: ScenarioName
    mode: Mode
    options: list[str]
    """Options of `sut.main`."""
    config: Config
    expected_s: float | None
    """Expected duration of LoadGen's part in s; None until a probe has measured it."""

    @property
    def title(self) -> str:
        """Name of the run on the screen."""
        return f"{TITLES[self.scenario]} {self.mode.value}"


def plan_runs(request: Request, rates: dict[str, float]) -> list[PlannedRun]:
    """Return the runs in the order in which they are made.

    Performance runs come first: they fail most often, and then the least time is lost.

    Args:
        request: the submitter's request.
        rates: results of probes by scenario, in samples/s (Offline) or ms
            (SingleStream). A value in the request's options has priority.

    Raises:
        UserError: an option is wrong, or a run would break a rule.
    """
    modes = [Mode.performance, Mode.compliance, Mode.accuracy]
    if request.benchmark is Benchmark.edge:
        modes.remove(Mode.compliance)
    return [
        _planned(request, scenario, mode, rates)
        for scenario in request.scenarios
        for mode in modes
    ]


def options_for(request: Request, scenario: ScenarioName, mode: Mode) -> list[str]:
    """Return the options of `sut.main` that the request alone decides."""
    return [
        f"benchmark={request.benchmark.value}",
        f"scenario={scenario.value}",
        f"mode={mode.value}",
        *request.options,
        *request.scenario_options.get(scenario.value, []),
    ]


def _planned(
    request: Request, scenario: ScenarioName, mode: Mode, rates: dict[str, float]
) -> PlannedRun:
    options = [*options_for(request, scenario, mode), "run=full"]
    config = load_config(options)
    key, given = sizing(config)
    measured = rates.get(scenario.value)
    if given is None and measured is not None:
        size = measured
        if scenario is ScenarioName.singlestream:
            size = 1000 * singlestream_expected_s(measured / 1000, *_passes(config))
        options.append(f"scenario.{key}={size:.6g}")
        config = load_config(options)
    if measures_step_model(config):
        raise UserError(
            f"scenario={scenario.value}: a submission with adaptive_batching needs"
            " engine.step_model, so that all its runs have the same; replicas.json of a"
            " run that measured it has its step_model"
        )
    return PlannedRun(
        scenario=scenario,
        mode=mode,
        options=options,
        config=config,
        expected_s=_expected_s(config, measured),
    )


def measures_step_model(config: Config) -> bool:
    """Return whether each run measures the model of its adaptive batching by itself."""
    engine = config.engine
    return (
        isinstance(engine, VllmConfig)
        and engine.adaptive_batching
        and engine.step_model is None
    )


def sizing(config: Config) -> tuple[str, float | None]:
    """Return the option that sizes a run of this scenario, and its value."""
    if config.scenario.name is ScenarioName.singlestream:
        return "expected_latency_ms", config.scenario.expected_latency_ms
    return "target_qps", config.scenario.target_qps


def rules_of(config: Config) -> ScenarioPlan:
    """Return the plan of LoadGen's settings, for a data set of the required size.

    Raises:
        UserError: the run would break a rule.
    """
    suite = config.benchmark or Benchmark.datacenter
    return plan_scenario(config, SAMPLES[suite])


def server_schedule(config: Config) -> ServerSchedule:
    """Return the seeded schedule of a scenario with arrival times.

    Raises:
        UserError: the run would break a rule.
    """
    samples, shortest_s = _passes(config)
    return ServerSchedule(
        seed=int(rules_of(config).rules["schedule_rng_seed"]),
        pass_queries=samples,
        min_duration_s=shortest_s,
    )


def _passes(config: Config) -> tuple[int, float]:
    """Return the size of the data set and the shortest duration in s, by the rules."""
    rules = rules_of(config).rules
    samples = int(rules["performance_sample_count_override"])
    return samples, rules["min_duration_ms"] / 1000


def _expected_s(config: Config, measured: float | None) -> float | None:
    """Return LoadGen's duration in s at the measured speed, or at the given rate."""
    _, size = sizing(config)
    if size is None:
        return None
    data_set, shortest_s = _passes(config)
    if config.scenario.name is ScenarioName.singlestream:
        queries = data_set
        if config.mode is Mode.performance:
            queries = singlestream_queries(size / 1000, data_set, shortest_s)
        return queries * (measured or size) / 1000
    if config.mode is Mode.performance and config.scenario.name in SERVER_SCENARIOS:
        return server_schedule(config).arrivals(size).duration_s
    samples = {
        Mode.performance: offline_samples(size, data_set, shortest_s),
        Mode.compliance: COMPLIANCE_SAMPLES,
        Mode.accuracy: data_set,
    }
    return samples[config.mode] / size
