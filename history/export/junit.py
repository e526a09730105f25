"""The verdict of a run as JUnit XML: a test case per check."""

from collections.abc import Iterator
from pathlib import Path

from base.junit import JUnitCase, as_junit
from record.folder import RunFolder, read_json, write_text
from record.structs import SettingsRecord, Verdict


def write_junit(folder: RunFolder, target: Path) -> None:
    """Write the checks of the run into `target`.

    A run that was aborted, or stopped by its campaign, has one more case that says so.

    Raises:
        RecordError: the verdict or the settings are missing or damaged.
        OSError: the file cannot be written.
    """
    verdict = read_json(folder.verdict, Verdict)
    settings = read_json(folder.settings, SettingsRecord)
    cases = list(_cases(verdict, f"{settings.scenario}.{settings.mode}"))
    write_text(target, as_junit("run", {folder.path.name: cases}))


def _cases(verdict: Verdict, where: str) -> Iterator[JUnitCase]:
    for check in verdict.checks:
        text = check.reason if check.outcome == "failed" else ""
        if check.outcome == "skipped":
            text = check.note
        yield JUnitCase(where=where, name=check.name, outcome=check.outcome, text=text)
    if verdict.ended_early:
        yield JUnitCase(
            where=where,
            name="run_ended",
            outcome="error" if verdict.outcome == "aborted" else "skipped",
            text=verdict.reason,
        )
