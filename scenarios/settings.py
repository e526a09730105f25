"""LoadGen's TestSettings for a planned run, asserted against the rules."""

from pathlib import Path

import mlperf_loadgen as lg

from base.errors import UserError
from conf.schema import Mode, RunKind
from record.folder import RunFolder, write_json, write_text
from record.json_types import Json
from record.structs import Relaxed, SettingsRecord
from scenarios.plan import ScenarioPlan

_MODES = {
    Mode.performance: lg.TestMode.PerformanceOnly,
    Mode.accuracy: lg.TestMode.AccuracyOnly,
    # The audit file selects the mode by itself; PerformanceOnly is where it starts.
    Mode.compliance: lg.TestMode.PerformanceOnly,
}


def build_settings(plan: ScenarioPlan, folder: RunFolder) -> lg.TestSettings:
    """Return LoadGen's settings for `plan`, read from the folder's own user.conf.

    Call it once per process: LoadGen applies its built-in rules to the first
    `FromConfig` alone.

    Raises:
        UserError: user.conf holds a bad value, or run=full would break a rule.
    """
    write_text(folder.user_conf, plan.user_conf)
    if plan.audit_conf is not None:
        write_text(folder.audit_conf, plan.audit_conf)
    settings = lg.TestSettings()
    code = settings.FromConfig(
        str(folder.user_conf), plan.loadgen_model, plan.loadgen_scenario, 1
    )
    if code != 0:
        raise UserError(
            f"{folder.user_conf}: LoadGen refuses it (code {code}); each line must be"
            " MODEL.SCENARIO.KEY = VALUE"
        )
    settings.scenario = getattr(lg.TestScenario, plan.loadgen_scenario)
    settings.mode = _MODES[plan.mode]
    broken = _relaxed(plan, effective(settings))
    if plan.kind is RunKind.full and broken:
        first = broken[0]
        raise UserError(
            f"{folder.user_conf}: sets {first.setting} to {first.value}, but the rules"
            f" have {first.rule}; run=full keeps to the rules"
        )
    for name, value in plan.relaxations.items():
        setattr(settings, name, value)
    return settings


def set_expected_latency(
    settings: lg.TestSettings, plan: ScenarioPlan, folder: RunFolder, latency_ns: int
) -> None:
    """Tell LoadGen (and the run's user.conf) how long a SingleStream query takes."""
    settings.single_stream_expected_latency_ns = latency_ns
    key = f"{plan.loadgen_model}.{plan.loadgen_scenario}.target_latency"
    text = f"{plan.user_conf}# measured by the warm-up, in ms\n"
    write_text(folder.user_conf, f"{text}{key} = {latency_ns / 1e6:g}\n")


def record_settings(
    settings: lg.TestSettings,
    plan: ScenarioPlan,
    folder: RunFolder,
    stop_token_ids: list[int],
    tokenizer: Path | None,
) -> SettingsRecord:
    """Write `settings.json` and return it."""
    values = effective(settings)
    record = SettingsRecord(
        benchmark=plan.benchmark.value,
        scenario=plan.scenario.value,
        mode=plan.mode.value,
        kind=plan.kind.value,
        streaming=plan.streaming,
        loadgen_model=plan.loadgen_model,
        loadgen_scenario=plan.loadgen_scenario,
        is_benchmark=plan.is_benchmark,
        stop_token_ids=stop_token_ids,
        tokenizer=str(tokenizer) if tokenizer else None,
        effective=values,
        rules=plan.rules,
        relaxed=_relaxed(plan, values),
    )
    write_json(folder.settings, record)
    return record


def effective(settings: lg.TestSettings) -> dict[str, Json]:
    """Return every TestSettings attribute by name, as JSON values."""
    names = [
        name
        for name in dir(settings)
        if not name.startswith("_") and name != "FromConfig"
    ]
    values = {name: getattr(settings, name) for name in names}
    return {
        name: value if isinstance(value, int | float | bool) else value.name
        for name, value in values.items()
    }


def _relaxed(plan: ScenarioPlan, values: dict[str, Json]) -> list[Relaxed]:
    return [
        Relaxed(setting=name, rule=rule, value=values[name])
        for name, rule in sorted(plan.rules.items())
        if not _keeps(name, values[name], rule)
    ]


def _keeps(name: str, value: Json, rule: Json) -> bool:
    """Return whether a setting keeps its rule; a longer run than asked for does."""
    return bool(value >= rule if name.startswith("min_") else value == rule)
