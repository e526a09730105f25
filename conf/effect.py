"""Refuses options that cannot have an effect in the run that they are given for.

Only what the user wrote is looked at: presets and experiment files may set what one
scenario needs and another does not.
"""

from collections.abc import Collection, Iterator

from base.benchmark import ScenarioName
from base.decode import whole_number
from base.errors import UserError
from conf.engines import EndpointConfig, SyntheticConfig
from conf.schema import Config, Mode, RunKind

_OF_MODEL = ("path", "weights", "vocabulary", "dtype")


def check_effects(config: Config, given: Collection[str]) -> None:
    """Refuse the first of the options `given` that has no effect.

    Args:
        config: the whole configuration.
        given: names of the options on the command line.

    Raises:
        UserError: one has none; says why.
    """
    for key, reason in _without_effect(config, given):
        raise UserError(f"{key} has no effect: {reason}; leave it out")


def _without_effect(
    config: Config, given: Collection[str]
) -> Iterator[tuple[str, str]]:
    reasons = {
        **_of_scenario(config),
        **_of_engine(config),
        **(_of_smoke(config) if config.run.kind is RunKind.smoke else {}),
    }
    for key in given:
        if key in reasons:
            yield key, reasons[key]
        elif key.startswith("engine.slowdown"):
            yield from _of_slowdown(config)


def _of_scenario(config: Config) -> dict[str, str]:
    scenario = config.scenario.name
    name = f"scenario={scenario.value}"
    reasons: dict[str, str] = {}
    if scenario is not ScenarioName.singlestream:
        reasons["scenario.expected_latency_ms"] = f"{name} is not sized by it"
    else:
        reasons["scenario.target_qps"] = f"{name} issues one query after the other"
    if scenario not in (ScenarioName.server, ScenarioName.interactive):
        for limit in ("ttft_ms", "tpot_ms"):
            reasons[f"run.{limit}"] = f"{name} has no latency limits"
    if scenario is ScenarioName.offline:
        reasons["run.latency_percentile"] = f"{name} has no latency limits"
    return reasons


def _of_smoke(config: Config) -> dict[str, str]:
    """Return what only single runs are refused: a suite shares its options."""
    scenario, run = config.scenario.name, config.run
    reasons: dict[str, str] = {}
    if config.mode is not Mode.performance:
        why = f"mode={config.mode.value} has a number of samples of its own"
        reasons |= {"run.min_queries": why, "run.min_duration_s": why}
    if scenario is ScenarioName.offline and (
        config.mode is not Mode.performance or not run.min_duration_s
    ):
        reasons["scenario.target_qps"] = (
            "in Offline it sizes a run that has a shortest duration (run=full, or"
            " run.min_duration_s), and this one has none"
        )
    if config.mode is not Mode.compliance:
        reasons["run.audit_conf"] = "only mode=compliance reads an audit file"
    return reasons


def _of_engine(config: Config) -> dict[str, str]:
    if isinstance(config.engine, EndpointConfig):
        return {
            "model.dtype": "the server has chosen it",
            "cluster.gpus_per_replica": "a server has GPUs of its own",
        }
    if not isinstance(config.engine, SyntheticConfig):
        return {}
    why = "engine=synthetic loads no model"
    return {
        **{f"model.{name}": why for name in _OF_MODEL},
        "dataset.vocabulary": why,
    }


def _of_slowdown(config: Config) -> Iterator[tuple[str, str]]:
    if not isinstance(config.engine, SyntheticConfig):
        return
    for name in config.engine.slowdown:
        number = whole_number(name)
        if number is None:
            raise UserError(
                f"engine.slowdown.{name}: name a replica by its number, from 0"
            )
        count = config.cluster.replicas
        if count is not None and number >= count:
            yield (
                f"engine.slowdown.{name}",
                f"cluster.replicas={count} has replicas 0 to {count - 1}",
            )
