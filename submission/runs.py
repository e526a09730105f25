"""The runs of a submission: finds those that were made, and makes one or a probe."""

import hashlib
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

import msgspec

from base.benchmark import TITLES, ScenarioName
from base.child import Children, module_command, module_environment
from base.errors import Aborted, ExitCode, UserError
from conf.load import load_config
from conf.schema import Config, Mode
from conf.secrets import masked
from record.folder import RecordError, RunFolder, read_json, write_json
from record.loadgen_log import read_detail
from record.structs import Json, Verdict
from submission.plan import PlannedRun, options_for, rules_of
from submission.request import Request

_FREE = ("mode",)
_FREE_OF_RUN = ("dir", "live", "trace", "audit_conf", "stall_timeout_s")
"""What says where a run goes or how it is watched, not how it works."""


def conditions(config: Config) -> dict[str, Json]:
    """Return all options that decide how a run works, as `section.option: value`.

    Secrets are masked, as in a run's record.
    """
    tree = asdict(masked(config))
    for key in _FREE:
        del tree[key]
    for key in _FREE_OF_RUN:
        del tree["run"][key]
    return dict(_flat(tree, ""))


def digest(config: Config) -> str:
    """Return the SHA-256 of the conditions of `config`."""
    encoded = msgspec.json.encode(conditions(config), order="sorted")
    return hashlib.sha256(encoded).hexdigest()


def differences(one: dict[str, Json], other: dict[str, Json]) -> list[str]:
    """Return the names under which the two mappings differ."""
    names = sorted(one.keys() | other.keys())
    return [name for name in names if one.get(name, ...) != other.get(name, ...)]


def _flat(node: Json, name: str) -> list[tuple[str, Json]]:
    if isinstance(node, dict) and node:
        return [
            pair
            for key, value in node.items()
            for pair in _flat(value, f"{name}.{key}" if name else str(key))
        ]
    return [(name, node.value if isinstance(node, Enum) else node)]


@dataclass(slots=True, kw_only=True)
class Evidence:
    """The run folder for one planned run, if there is one."""

    folder: RunFolder | None
    """The newest folder that can be used; None: the run is still to be made."""
    refused: str
    """Why the newest folder of this scenario and mode cannot be used; empty if it can,
    or if there is none."""


def find_run(runs: Path, planned: PlannedRun, source: dict[str, str]) -> Evidence:
    """Return the newest run that passed, not degraded, with this config and code.

    Args:
        runs: folder of run folders.
        planned: the run.
        source: digests of the present code, by path.
    """
    refused = ""
    for path in sorted(runs.glob("*/"), reverse=True):
        folder = RunFolder(path)
        config = _config_of(folder)
        if path.is_symlink() or config is None or not _same_kind(config, planned):
            continue
        reason = _why_not(folder, config, planned, source)
        if not reason:
            return Evidence(folder=folder, refused="")
        refused = refused or f"{path.name}: {reason}"
    return Evidence(folder=None, refused=refused)


def _config_of(folder: RunFolder) -> Config | None:
    try:
        return load_config([], folder.config)
    except UserError:
        return None


def _same_kind(config: Config, planned: PlannedRun) -> bool:
    return (
        config.scenario.name is planned.scenario
        and config.mode is planned.mode
        and config.benchmark is planned.config.benchmark
    )


def _why_not(
    folder: RunFolder, config: Config, planned: PlannedRun, source: dict[str, str]
) -> str:
    try:
        verdict = read_json(folder.verdict, Verdict)
        made_by = read_json(folder.source, dict[str, str])
    except RecordError as error:
        return f"did not finish ({error})"
    if changed := differences(conditions(config), conditions(planned.config)):
        return f"made with another {_listed(changed)}"
    if folder.user_conf.read_text() != rules_of(planned.config).user_conf:
        return "made with another user.conf"
    if changed := differences(made_by, source):
        return f"made by other code ({_listed(changed)})"
    if verdict.outcome != "passed":
        return f"{verdict.outcome}: {verdict.reason}"
    if verdict.degraded:
        return "degraded: a replica was lost or the run was paused; see events.jsonl"
    return ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def make_run(
    children: Children, title: str, options: list[str], runs: Path
) -> RunFolder:
    """Make one run and return its folder; it shows its own progress.

    Args:
        children: runs it and passes signals on to it.
        title: its name in messages.
        options: options of `sut.main`.
        runs: folder of run folders.

    Raises:
        UserError: `sut.main` refused the options.
        Aborted: the run was aborted or interrupted.
    """
    ended = children.run(
        module_command("sut.main", *options, f"run.dir={runs}"), module_environment()
    )
    resume = "finished runs are kept; the same command resumes with this run"
    if children.interrupted is not None:
        raise Aborted(f"{title}: interrupted by {children.interrupted.name}; {resume}")
    if ended.code == ExitCode.BAD_INPUT:
        raise UserError(f"{title}: the line above says what is wrong with its options")
    if ended.code not in (ExitCode.GOOD, ExitCode.NOT_GOOD):
        raise Aborted(f"{title}: aborted (exit {ended.code}); {resume}")
    if ended.folder is None:
        raise Aborted(f"{title}: exit {ended.code}, but it named no run folder")
    return RunFolder(ended.folder)


_FILE = "rates.json"
_PROBED = {
    ScenarioName.offline: ("result_samples_per_second", 1.0),
    ScenarioName.singlestream: ("result_mean_latency_ns", 1e-6),
}


class Rates(msgspec.Struct, kw_only=True):
    """`rates.json`: the results of probes, and their options."""

    values: dict[str, float]
    """By scenario: samples/s (Offline) or ms per query (SingleStream)."""
    options: dict[str, list[str]]


def known_rates(request: Request) -> dict[str, float]:
    """Return the results of earlier probes with the same options, by scenario."""
    path = request.root / _FILE
    if not path.exists():
        return {}
    try:
        rates = read_json(path, Rates)
    except RecordError as error:
        raise UserError(f"{error}; delete it to probe again") from error
    return {
        name: value
        for name, value in rates.values.items()
        if rates.options.get(name) == _options(request, ScenarioName(name))
    }


def probe(children: Children, request: Request, scenario: ScenarioName) -> float:
    """Make a short run; return and keep samples/s (Offline) or ms (SingleStream).

    Raises:
        UserError: an option is wrong, or the probe's log is not as expected.
        Aborted: the probe was aborted.
    """
    key, factor = _PROBED[scenario]
    options = _options(request, scenario)
    folder = make_run(
        children,
        f"probe of {TITLES[scenario]}",
        [*options, "run=smoke"],
        request.root / "probes",
    )
    try:
        logged = read_detail(folder.detail_log).number(key)
        if logged is None:
            raise RecordError(folder.detail_log, f"no {key}")
    except RecordError as error:
        raise UserError(f"{folder.path}: the probe measured nothing: {error}") from None
    measured = logged * factor
    known = known_rates(request) | {scenario.value: float(f"{measured:.4g}")}
    write_json(
        request.root / _FILE,
        Rates(
            values=known,
            options={name: _options(request, ScenarioName(name)) for name in known},
        ),
    )
    return known[scenario.value]


def _options(request: Request, scenario: ScenarioName) -> list[str]:
    return options_for(request, scenario, Mode.performance)
