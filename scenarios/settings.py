"""LoadGen's TestSettings for a planned run, asserted against the rules."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import mlperf_loadgen as lg

from base.errors import UserError
from base.version import VERSION
from conf.schema import Mode, RunKind
from record.folder import RunFolder, write_json, write_text
from record.structs import Json, Relaxed, SettingsRecord
from scenarios.plan import ScenarioPlan
from scenarios.rules import ConfLine

_FIRST, _BUILT_IN, _OWN = 1, 0, 2
"""What FromConfig reads: the rules and a file, only the rules, or only a file."""
_PROBES = ("1", "2", "0")
"""Every setting differs from at least one of these values."""

_MODES = {
    Mode.performance: lg.TestMode.PerformanceOnly,
    Mode.accuracy: lg.TestMode.AccuracyOnly,
    # The audit file selects the mode by itself; PerformanceOnly is where it starts.
    Mode.compliance: lg.TestMode.PerformanceOnly,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Facts of model and data that settings.json records."""

    stop_token_ids: list[int]
    """Tokens that end an answer; empty where the data prescribe its length."""
    tokenizer: Path | None
    dataset_sha256: str | None
    prescribed_lengths: bool
    """Whether the data set prescribes the length of each answer."""


def build_settings(plan: ScenarioPlan, folder: RunFolder) -> lg.TestSettings:
    """Return LoadGen's settings for `plan`, read from the folder's own user.conf.

    Call it once per process: LoadGen applies its built-in rules only to the first
    `FromConfig`.

    Raises:
        UserError: user.conf has a bad value or, in run=full, a line that LoadGen
            ignores; or run=full would break a rule.
    """
    write_text(folder.user_conf, plan.user_conf)
    if plan.audit_conf is not None:
        write_text(folder.audit_conf, plan.audit_conf)
    settings = lg.TestSettings()
    code = settings.FromConfig(
        str(folder.user_conf), plan.loadgen_model, plan.loadgen_scenario, _FIRST
    )
    if code != 0:
        raise UserError(_refused_line(plan, code))
    settings.scenario = getattr(lg.TestScenario, plan.loadgen_scenario)
    settings.mode = _MODES[plan.mode]
    idle = [
        f"{plan.user_conf_source}, line {line.number}: {line.name} has no effect;"
        f" LoadGen has no such key, or another line overrides it"
        for line in ineffective_lines(plan)
    ]
    if idle and plan.kind is RunKind.full:
        raise UserError(f"{idle[0]}; correct it or leave it out")
    plan.notes += [f"note: {text}" for text in idle]
    broken = _relaxed(plan, effective(settings))
    if plan.kind is RunKind.full and broken:
        first = broken[0]
        raise UserError(
            f"{plan.user_conf_source}: sets {first.setting} to {first.value}, but the"
            f" rules have {first.rule}; remove the setting, or use run=smoke"
        )
    for name, value in plan.relaxations.items():
        setattr(settings, name, value)
    return settings


def ineffective_lines(plan: ScenarioPlan) -> list[ConfLine]:
    """Return the lines of user.conf for this run that LoadGen ignores.

    This asks LoadGen itself: if another value in a line changes no setting, the line
    has no effect. Lines that an option replaces are left out.
    """
    lines = plan.lines
    own = lines[-1].key if plan.adds_a_line else None
    return [
        line
        for line in lines
        if line.is_for(plan.loadgen_model, plan.loadgen_scenario)
        and line.key != own
        and not _has_effect(plan, lines, line)
    ]


def _has_effect(plan: ScenarioPlan, lines: list[ConfLine], line: ConfLine) -> bool:
    values = [line.value, *(value for value in _PROBES if value != line.value)]
    found = []
    for value in values:
        text = [
            f"{other.name} = {value if other is line else other.value}"
            for other in lines
        ]
        found.append(_settings_of(plan, "\n".join(text) + "\n"))
    return any(other != found[0] for other in found[1:])


def _settings_of(plan: ScenarioPlan, text: str) -> dict[str, Json]:
    """Return the settings that LoadGen reads from a user.conf with this text."""
    settings = lg.TestSettings()
    with NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        for name, kind in (("", _BUILT_IN), (file.name, _OWN)):
            settings.FromConfig(name, plan.loadgen_model, plan.loadgen_scenario, kind)
    return effective(settings)


def _refused_line(plan: ScenarioPlan, code: int) -> str:
    for line in plan.lines:
        settings = lg.TestSettings()
        with NamedTemporaryFile("w", suffix=".conf") as file:
            file.write(f"{line.name} = {line.value}\n")
            file.flush()
            if settings.FromConfig(file.name, line.model, line.scenario, _OWN):
                return (
                    f"{plan.user_conf_source}, line {line.number}: LoadGen refuses it:"
                    f" {line.name} = {line.value}: not a number"
                )
    return f"{plan.user_conf_source}: LoadGen refuses it (code {code})"


def set_expected_latency(
    settings: lg.TestSettings, plan: ScenarioPlan, folder: RunFolder, latency_ns: int
) -> None:
    """Set the expected latency of SingleStream in LoadGen and the run's user.conf."""
    settings.single_stream_expected_latency_ns = latency_ns
    key = f"{plan.loadgen_model}.{plan.loadgen_scenario}.target_latency"
    text = f"{plan.user_conf}# measured by the warm-up, in ms\n"
    write_text(folder.user_conf, f"{text}{key} = {latency_ns / 1e6:g}\n")


def record_settings(
    settings: lg.TestSettings,
    plan: ScenarioPlan,
    folder: RunFolder,
    facts: RunFacts,
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
        stop_token_ids=facts.stop_token_ids,
        tokenizer=str(facts.tokenizer) if facts.tokenizer else None,
        effective=values,
        rules=plan.rules,
        relaxed=_relaxed(plan, values),
        dataset_sha256=facts.dataset_sha256,
        version=VERSION,
        max_output_tokens=plan.max_output_tokens,
        prescribed_lengths=facts.prescribed_lengths,
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
    """Return whether a setting keeps its rule; a run longer than required keeps it."""
    return bool(value >= rule if name.startswith("min_") else value == rule)
