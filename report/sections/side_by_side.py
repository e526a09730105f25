"""The symmetry table with a column for each node, as people write it by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

from record.structs import Json
from report.figures import Column, Table, table

MOST_NODES = 8
"""Nodes up to which each has a column of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """One measure of all nodes."""

    measure: str
    unit: str
    values: Sequence[float | None]
    """Of each node."""
    spread: float | None
    status: str


def side_by_side(nodes: Sequence[str], rows: Sequence[SideBySide]) -> Table:
    """Return a table with a column for each node; no rows for one node or many.

    Args:
        nodes: names of the nodes.
        rows: its measures.
    """
    if not 1 < len(nodes) <= MOST_NODES:
        nodes, rows = nodes[:1], []

    def of(place: int) -> Column[SideBySide]:
        def value(row: SideBySide) -> Json:
            return row.values[place]

        return Column(
            f"node {place + 1}", "", f"value of {nodes[place]}", value, nodes[place]
        )

    return table(
        [
            Column("measure", "", "what is compared", lambda row: row.measure),
            Column("unit", "", "unit of the values", lambda row: row.unit),
            *(of(place) for place in range(len(nodes))),
            Column(
                "spread",
                "%",
                "(highest - lowest) / lowest; success rate: difference in points",
                lambda row: None if row.spread is None else round(row.spread, 1),
            ),
            Column(
                "status",
                "",
                "as in the table of spreads",
                lambda row: row.status,
            ),
        ],
        rows,
    )
