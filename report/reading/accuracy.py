"""The scores of a run in accuracy mode, as `accuracy.json` records them."""

from pathlib import Path

from msgspec import Struct

from record.folder import read_json


class ScoreFigure(Struct):
    """One figure of `accuracy.json`."""

    value: float | None = None


class AccuracyFile(Struct, kw_only=True):
    """The part of `accuracy.json` that the report uses."""

    rouge1: ScoreFigure | None = None
    rouge2: ScoreFigure | None = None
    rougeL: ScoreFigure | None = None  # noqa: N815  (the metric's own name)
    rougeLsum: ScoreFigure | None = None  # noqa: N815

    def score(self, metric: str) -> float | None:
        """Return the mean F-measure of a metric in percent; None if there is none."""
        found: ScoreFigure | None = getattr(self, metric)
        return None if found is None else found.value


def read_accuracy(path: Path) -> AccuracyFile | None:
    """Return the scores in the file `path`; None if the run was not scored.

    Raises:
        RecordError: the file is damaged.
    """
    return read_json(path, AccuracyFile) if path.exists() else None
