"""What follows a run: its accuracy and its report. Neither can spoil it."""

from accuracy.score import score_run
from base.errors import UserError
from record.errors import RecordError
from record.folder import RunFolder, read_json
from record.structs import Check, SettingsRecord, Verdict
from report.build import write_report
from sut.console import say


def score(folder: RunFolder, verdict: Verdict) -> dict[str, float]:
    """Return the scores of a run in accuracy mode; empty where there are none.

    Where the benchmark's target applies, `verdict` gets a check for it, which fails
    also where the answers could not be scored.
    """
    settings = read_json(folder.settings, SettingsRecord)
    if settings.mode != "accuracy":
        return {}
    try:
        result = score_run(folder)
    except (UserError, RecordError, OSError) as error:
        say(f"no accuracy: {error}")
        if settings.is_benchmark and settings.kind == "full":
            verdict.add(_target(None, str(error)))
        return {}
    if result.target_applies:
        verdict.add(_target(not result.missed, "; ".join(result.missed)))
    return result.scores


def _target(reached: bool | None, note: str) -> Check:
    return Check(
        name="accuracy_target",
        limit=True,
        value=reached,
        outcome="passed" if reached else "failed",
        note=note,
    )


def report_on(folder: RunFolder) -> None:
    """Write the run's report, or say why there is none."""
    try:
        write_report(folder)
    except Exception as error:  # noqa: BLE001  (the run is done and stays good)
        say(f"no report ({error}); try again: python -m report {folder.path}")
