"""The result of a qualification: for the terminal, as a page and as JUnit XML."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from base.junit import JUnitCase, as_junit
from campaigns.output import Summary
from campaigns.qualify.peers import kind_of
from campaigns.qualify.record import (
    CheckResult,
    NodeResult,
    Qualification,
    ReplicaResult,
)
from record.campaign import Status
from record.folder import write_text
from record.structs import Json
from report.rendering.page import page_environment
from report.wording import cell, count

PAGE = "qualify.html"
JUNIT = "junit.xml"
_OPEN = ("failed", "warning")


def as_text(record: Qualification) -> str:
    """Return the result for a terminal: a row for each replica, then the reasons."""
    rows = [("replica", "node", "device", "alone", "with all", "result")]
    for one in record.replicas:
        rows.append(
            (
                str(one.replica),
                one.node,
                kind_of(one.devices) or "-",
                cell(one.alone_tokens_per_s),
                cell(one.all_tokens_per_s),
                one.outcome,
            )
        )
    lines = [*_columns(rows), "(alone, with all others: Offline tokens/s)", ""]
    lines += [
        f"{where}: {check.name}: {check.reason}" for where, check in _open(record)
    ]
    lines += [f"run {text}" for text in record.problems]
    lines += [f"note: {text}" for text in record.notes]
    return "\n".join([*lines, conclusion(record)])


def summary(record: Qualification, status: Status, page: Path) -> Summary:
    """Return the result for `--json`: a row for each replica."""
    columns = {
        "replica": "replica",
        "node": "node",
        "device": "device",
        "alone": "alone, Offline tokens/s",
        "all": "with all others, Offline tokens/s",
        "outcome": "result",
        "reasons": "why",
    }
    rows: list[dict[str, Json]] = [
        {
            "replica": one.replica,
            "node": one.node,
            "device": kind_of(one.devices),
            "alone": one.alone_tokens_per_s,
            "all": one.all_tokens_per_s,
            "outcome": one.outcome,
            "reasons": [c.reason for c in one.checks if c.outcome in _OPEN],
        }
        for one in record.replicas
    ]
    return Summary(
        campaign="qualify",
        status=status,
        conclusion=conclusion(record),
        folder=str(page.parent),
        report=str(page),
        columns=columns,
        rows=rows,
    )


def conclusion(record: Qualification) -> str:
    """Return the result in one line."""
    total, nodes = len(record.replicas), len(record.nodes)
    size = f"{count(total, 'replica')} on {count(nodes, 'node')}"
    if record.status == "passed":
        return f"passed: {size}"
    bad = [str(one.replica) for one in record.replicas if one.outcome == "failed"]
    hosts = [one.node for one in record.nodes if one.outcome == "failed"]
    parts = []
    if bad:
        parts.append(f"{'replica' if len(bad) == 1 else 'replicas'} {', '.join(bad)}")
    if hosts:
        parts.append(f"{'node' if len(hosts) == 1 else 'nodes'} {', '.join(hosts)}")
    if record.problems:
        parts.append(count(len(record.problems), "problem") + " of whole runs")
    if not total:
        parts.append("no replica was measured")
    return f"failed: {'; '.join(parts)} ({size})"


def write_results(root: Path, record: Qualification) -> Path:
    """Write the page and junit.xml into `root`; return the path of the page.

    Raises:
        OSError: a file cannot be written.
    """
    write_text(root / JUNIT, junit(record))
    write_text(root / PAGE, as_page(record))
    return root / PAGE


def as_page(record: Qualification) -> str:
    """Return the page."""
    environment = page_environment()
    environment.filters |= {"cell": cell, "kind": kind_of}
    text = environment.get_template("qualify.html").render(
        record=record,
        conclusion=conclusion(record),
        open=list(_open(record)),
        names=_check_names(record.replicas),
        dates=_dates(record.replicas),
        minutes=sum(run.seconds for run in record.runs) / 60,
    )
    return text.rstrip() + "\n"


def junit(record: Qualification) -> str:
    """Return JUnit XML: a suite for each node, a test case for each check.

    A warning is a passed test case with its reason as output.
    """
    suites: dict[str, list[JUnitCase]] = {}
    for node in record.nodes:
        suites[node.node] = [
            _case(f"{node.node}.replica-{result.replica}", check)
            for result in record.replicas
            if result.node == node.node
            for check in result.checks
        ]
        suites[node.node] += [_case(f"{node.node}.node", one) for one in node.checks]
    none = [] if record.replicas else ["no replica was measured"]
    problems = record.problems or none
    suites["cluster"] = [
        *suites.get("cluster", []),
        JUnitCase(
            where="cluster",
            name="whole runs",
            outcome="failed" if problems else "passed",
            text="; ".join(problems),
        ),
    ]
    return as_junit("qualify", suites)


def _case(where: str, check: CheckResult) -> JUnitCase:
    outcome = "passed" if check.outcome == "warning" else check.outcome
    return JUnitCase(where=where, name=check.name, outcome=outcome, text=check.reason)


def _open(record: Qualification) -> Iterator[tuple[str, CheckResult]]:
    """Yield what failed or warns, and where; nodes last."""
    for one in record.replicas:
        for check in one.checks:
            if check.outcome in _OPEN:
                yield f"replica {one.replica} on {one.node}", check
    for node in record.nodes:
        for check in _bad(node):
            yield f"node {node.node}", check


def _bad(node: NodeResult) -> list[CheckResult]:
    return [check for check in node.checks if check.outcome in _OPEN]


def _check_names(results: Sequence[ReplicaResult]) -> list[str]:
    return list(dict.fromkeys(check.name for one in results for check in one.checks))


def _dates(results: Sequence[ReplicaResult]) -> list[str]:
    """Return when earlier qualifications began, the oldest first."""
    return sorted({point.started for one in results for point in one.history})


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if 2 < place < 5 else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
