"""Checks of a submission tree before it is uploaded, stricter than the official ones.

Each yields findings: which file, what is wrong, and what to do about it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from submission.checks.accuracy import accuracy_findings, compliance_findings
from submission.checks.documents import system_findings, text_findings, upload_findings
from submission.checks.loaded import LoadedResult, TreeFinding, load_result
from submission.checks.performance import performance_findings
from submission.checks.records import record_findings, sameness_findings
from submission.layout import submitter_folders

__all__ = ["TreeFinding", "check_tree"]

_CHECKS: tuple[Callable[[LoadedResult], Iterator[TreeFinding]], ...] = (
    system_findings,
    record_findings,
    performance_findings,
    accuracy_findings,
    compliance_findings,
    sameness_findings,
    text_findings,
)


def check_tree(tree: Path) -> list[TreeFinding]:
    """Return everything that speaks against uploading `tree`; paths are within it."""
    found = list(upload_findings(tree))
    for home in submitter_folders(tree):
        for folder in home.results():
            result = load_result(home, folder)
            found += result.unreadable
            for check in _CHECKS:
                found += check(result)
    return [finding.within(tree) for finding in found]
