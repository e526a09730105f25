"""The verdict of a run as JUnit XML, which CI systems show: a test case per check."""

from pathlib import Path
from xml.etree import ElementTree

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
    kind = f"{settings.scenario}.{settings.mode}"
    suite = ElementTree.Element("testsuite", name=folder.path.name)
    failures = errors = skipped = 0
    for check in verdict.checks:
        case = ElementTree.SubElement(
            suite, "testcase", classname=kind, name=check.name
        )
        if check.outcome == "failed":
            failures += 1
            ElementTree.SubElement(case, "failure", message=_plain(check.reason))
        elif check.outcome == "skipped":
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=_plain(check.note))
    if verdict.ended_early:
        case = ElementTree.SubElement(
            suite, "testcase", classname=kind, name="run_ended"
        )
        if verdict.outcome == "aborted":
            errors += 1
            ElementTree.SubElement(case, "error", message=_plain(verdict.reason))
        else:
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=_plain(verdict.reason))
    counts = {"tests": len(suite), "failures": failures, "errors": errors}
    suite.attrib |= {name: str(n) for name, n in {**counts, "skipped": skipped}.items()}
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    write_text(target, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')


def _plain(text: str) -> str:
    """Return `text` without the characters that XML cannot contain."""
    return "".join(c if c.isprintable() else " " for c in text)
