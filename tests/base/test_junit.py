"""JUnit XML."""

from xml.etree import ElementTree

from base.junit import JUnitCase, as_junit


def test_each_case_has_its_outcome_and_the_suite_counts_them() -> None:
    cases = [
        JUnitCase(where="a.b", name="1", outcome="passed"),
        JUnitCase(where="a.b", name="2", outcome="passed", text="said"),
        JUnitCase(where="a.b", name="3", outcome="failed", text="too slow"),
        JUnitCase(where="a.b", name="4", outcome="error", text="aborted"),
        JUnitCase(where="a.b", name="5", outcome="skipped", text="no peer"),
    ]
    (suite,) = ElementTree.fromstring(as_junit("all", {"node": cases}))
    assert suite.attrib == {
        "name": "node",
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    assert [[(e.tag, e.get("message"), e.text) for e in case] for case in suite] == [
        [],
        [("system-out", None, "said")],
        [("failure", "too slow", None)],
        [("error", "aborted", None)],
        [("skipped", "no peer", None)],
    ]


def test_characters_that_xml_cannot_contain_become_spaces() -> None:
    bad = "a\x00\x1b<b>"
    case = JUnitCase(where=bad, name=bad, outcome="failed", text=bad)
    root = ElementTree.fromstring(as_junit(bad, {bad: [case]}))
    assert root.get("name") == "a  <b>"
    assert [element.get("message") for element in root.iter("failure")] == ["a  <b>"]
