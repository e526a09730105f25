"""JUnit XML, which CI systems show: suites of test cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

_COUNTS = {"failures": "failed", "errors": "error", "skipped": "skipped"}
"""The outcome that each attribute of a suite counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JUnitCase:
    """One test case."""

    where: str
    """What was tested; readers of JUnit group cases by it."""
    name: str
    outcome: Literal["passed", "failed", "error", "skipped"]
    text: str = ""
    """The reason; of a case that passed, its output."""


def as_junit(name: str, suites: Mapping[str, Sequence[JUnitCase]]) -> str:
    """Return the XML file of `suites`, by their names.

    Args:
        name: of the whole.
        suites: cases of each suite.
    """
    root = ElementTree.Element("testsuites", name=_plain(name))
    for title, cases in suites.items():
        suite = ElementTree.SubElement(
            root, "testsuite", name=_plain(title), tests=str(len(cases))
        )
        for key, outcome in _COUNTS.items():
            suite.set(key, str(sum(case.outcome == outcome for case in cases)))
        for case in cases:
            _add(suite, case)
    ElementTree.indent(root)
    body: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _add(suite: ElementTree.Element, case: JUnitCase) -> None:
    element = ElementTree.SubElement(
        suite, "testcase", classname=_plain(case.where), name=_plain(case.name)
    )
    text = _plain(case.text)
    if case.outcome == "passed":
        if text:
            ElementTree.SubElement(element, "system-out").text = text
        return
    kind = "failure" if case.outcome == "failed" else case.outcome
    ElementTree.SubElement(element, kind, message=text)


def _plain(text: str) -> str:
    """Return `text` without the characters that XML cannot contain."""
    return "".join(c if c.isprintable() else " " for c in text)
