"""Finds the run folders that a submission can rest on."""

from dataclasses import dataclass
from pathlib import Path

from base.errors import UserError
from conf.load import load_config
from conf.schema import Config
from record.errors import RecordError
from record.folder import RunFolder, read_json
from record.structs import Verdict
from submission.conditions import conditions, differences
from submission.plan import PlannedRun, rules_of


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What the run folders hold for one planned run."""

    folder: RunFolder | None
    """The newest folder that will do; None: the run is still to be made."""
    refused: str
    """Why the newest folder of this scenario and mode will not do; empty if it does,
    or if there is none."""


def find_run(runs: Path, planned: PlannedRun, source: dict[str, str]) -> Evidence:
    """Return the newest run that passed, undisturbed, with this config and code.

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
