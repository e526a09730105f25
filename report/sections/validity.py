"""The validity section: the verdict, the agreement with LoadGen, what a run is not."""

from collections.abc import Iterator

from record.structs import Check
from report.figures import Column, Section, figure, table
from report.reading.run import Run
from report.sections.settings import relaxed
from report.statistics.agreement import Agreement, agreement, record_agrees

DOUBTFUL = "record disagrees"
"""State of a run that passed, but whose record does not agree with LoadGen's log."""

_AGREEMENT: list[Column[Agreement]] = [
    Column("figure", "", "figure that is compared", lambda one: one.figure),
    Column(
        "ours",
        "",
        "computed from samples.jsonl, or from LoadGen's trace if it is on",
        lambda one: one.ours,
    ),
    Column("LoadGen's", "", "value in LoadGen's detail log", lambda one: one.loadgen),
    Column("unit", "", "unit of both values", lambda one: one.unit),
    Column("difference", "", "LoadGen's value less ours", lambda one: one.difference),
    Column(
        "tolerance",
        "",
        "largest difference that is accepted",
        lambda one: one.tolerance,
    ),
    Column("agrees", "", "whether it is within the tolerance", lambda one: one.agrees),
    Column("how", "", "how our value is computed", lambda one: one.method),
]
_CHECKS: list[Column[Check]] = [
    Column("check", "", "check of the gate", lambda check: check.name),
    Column("limit", "", "value that is required", lambda check: check.limit),
    Column("value", "", "value that was found", lambda check: check.value),
    Column("outcome", "", "passed, failed or skipped", lambda check: check.outcome),
    Column(
        "note",
        "",
        "what failed, or why it was skipped",
        lambda check: check.note or None,
    ),
]


def validity(run: Run) -> Section:
    """Return the verdict, the agreement with LoadGen, and what the run is not."""
    verdict, compared = run.verdict, agreement(run)
    return {
        "state": figure(
            state(run),
            "",
            "verdict of the gate, unless the record disagrees with LoadGen's log",
        ),
        "outcome": figure(
            verdict.outcome, "", "verdict of the gate when the run ended"
        ),
        "reason": figure(verdict.reason or None, "", "why the run did not pass"),
        "submission_candidate": figure(
            verdict.submission_candidate, "", "whether it could be submitted to MLPerf"
        ),
        "is_not": figure(
            "; ".join(_is_not(run)) or None, "", "why this is not an MLPerf result"
        ),
        "relaxed": figure(
            relaxed(run) or None, "", "settings that differ from MLPerf's rules"
        ),
        "agrees_with_loadgen": figure(
            all(one.agrees for one in compared) if compared else None,
            "",
            "whether every figure below agrees within its tolerance",
        ),
        "agreement": table(_AGREEMENT, compared),
        "checks": table(_CHECKS, verdict.checks),
        "notes": figure(
            "; ".join([*run.notes, *_switched_off(run)]) or None,
            "",
            "what was not recorded",
        ),
    }


def state(run: Run) -> str:
    """Return the gate's verdict; `DOUBTFUL` if it passed and the record is damaged."""
    if run.verdict.outcome == "passed" and not record_agrees(run):
        return DOUBTFUL
    return run.verdict.outcome


def _switched_off(run: Run) -> Iterator[str]:
    if run.trace is None:
        yield (
            "LoadGen's trace is off (run.trace=true writes it): latencies of nodes and"
            " replicas begin at the issue, not at the scheduled time, and the issue"
            " delay is unknown"
        )


def _is_not(run: Run) -> Iterator[str]:
    settings, config = run.settings, run.config
    if run.verdict.ended_early:
        yield f"the run was {run.verdict.outcome}"
    elif run.verdict.degraded:
        yield "the run lost a replica or was paused"
    if settings.kind == "smoke":
        yield "run=smoke shortens the run and relaxes its rules"
    if not settings.is_benchmark:
        yield "model or data differ from the benchmark's"
    if config.engine.name == "synthetic":
        yield "the engine is synthetic, so no device was measured"
    if config.model.weights == "dummy":
        yield "the weights are random"
    if config.dataset.name in ("sample", "synthetic"):
        yield f"the data set is {config.dataset.name}, not CNN/DailyMail"
