"""The answers of a run: its scores in `accuracy.json`, its tokens in LoadGen's log."""

from pathlib import Path

from msgspec import Struct, field

from base.answer_pairs import ReplicaAnswer
from record.answers import OddAnswers, ReplicaScores
from record.folder import read_json
from record.loadgen_log import read_answers
from report.reading.samples import Samples


class ScoreFigure(Struct):
    """One figure of `accuracy.json`."""

    value: float | None = None


class AccuracyFile(Struct, kw_only=True):
    """The part of `accuracy.json` that the report uses."""

    rouge1: ScoreFigure | None = None
    rouge2: ScoreFigure | None = None
    rougeL: ScoreFigure | None = None  # noqa: N815  (the metric's own name)
    rougeLsum: ScoreFigure | None = None  # noqa: N815
    replicas: list[ReplicaScores] = field(default_factory=list)
    odd_replicas: list[OddAnswers] = field(default_factory=list)

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


def read_logged_answers(path: Path, samples: Samples) -> list[ReplicaAnswer]:
    """Return the answers in LoadGen's accuracy log, with the replica of each.

    A performance run logs no answer, or a few that LoadGen drew. Answers of samples
    that were not completed are left out.

    Args:
        path: the log; it need not exist.
        samples: samples of the run.

    Raises:
        RecordError: a record of the log is damaged.
    """
    answers = read_answers(path) if path.exists() else []
    if not answers:
        return []
    lines = {int(samples.seq[line]): line for line in samples.done.nonzero()[0]}
    return [
        ReplicaAnswer(
            answer.qsl_index,
            int(samples.replica[lines[answer.seq]]),
            answer.tokens,
            int(samples.prompt_tokens[lines[answer.seq]]),
        )
        for answer in answers
        if answer.seq in lines
    ]
