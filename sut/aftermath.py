"""What follows a run: its accuracy and its report. Neither can spoil it."""

from accuracy.score import AccuracyResult, score_run
from conf.errors import UserError
from record.errors import RecordError
from record.folder import RunFolder, read_json
from record.structs import SettingsRecord
from report.build import write_report
from sut.console import say


def score(folder: RunFolder) -> AccuracyResult | None:
    """Score a run in accuracy mode; None where there is nothing to score."""
    if read_json(folder.settings, SettingsRecord).mode != "accuracy":
        return None
    try:
        return score_run(folder)
    except UserError as error:
        say(f"no accuracy: {error}")
        return None


def report_on(folder: RunFolder) -> None:
    """Write the run's report, or say why there is none."""
    try:
        write_report(folder)
    except (RecordError, OSError, ValueError, ArithmeticError) as error:
        say(f"no report ({error}); try again: python -m report {folder.path}")
