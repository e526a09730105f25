"""The table of answers by replica: scores, and agreement with other replicas."""

from collections.abc import Sequence
from dataclasses import dataclass

from record.answers import ReplicaScores
from report.figures import Column, Table, table
from report.reading.run import Run
from report.statistics.answers import answer_agreement
from report.statistics.numbers import ratio, rounded

_METRICS = ("rouge1", "rouge2", "rougeL")


@dataclass(slots=True)
class _Row:
    node: str
    replica: int
    scores: ReplicaScores | None
    identical: int
    pairs: int


def _score(metric: str) -> Column[_Row]:
    return Column(
        metric,
        "%",
        f"mean {metric} F-measure of its answers",
        lambda row: rounded(row.scores.scores.get(metric)) if row.scores else None,
    )


_COLUMNS: list[Column[_Row]] = [
    Column("node", "", "host", lambda row: row.node),
    Column("replica", "", "number of the replica", lambda row: row.replica),
    Column(
        "answers",
        "samples",
        "answers that were scored",
        lambda row: row.scores.answers if row.scores else None,
    ),
    *(_score(metric) for metric in _METRICS),
    Column(
        "pairs",
        "pairs",
        "answers of this replica and of another one to the same prompt, in the accuracy"
        " logs of all runs of this report",
        lambda row: row.pairs or None,
    ),
    Column(
        "identical",
        "%",
        "share of these pairs with the same tokens",
        lambda row: ratio(100.0 * row.identical, row.pairs) if row.pairs else None,
    ),
]


def answers(run: Run, runs: Sequence[Run]) -> Table:
    """Return a row for each replica; none without scores and logged answers."""
    scores = {
        one.replica: one for one in (run.accuracy.replicas if run.accuracy else [])
    }
    agreement = answer_agreement(runs).by_location
    rows = [
        _Row(
            record.node,
            record.replica,
            scores.get(record.replica),
            *agreement.get((record.node, record.replica), (0, 0)),
        )
        for record in run.replicas
    ]
    shown = any(row.scores or row.pairs for row in rows)
    return table(_COLUMNS, rows if shown else [])
