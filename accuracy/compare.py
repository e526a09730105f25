"""Two runs over the same data set, sample by sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from accuracy.answers import load_tokenizer
from accuracy.replicas import ReplicaAgreement, agreement_of_runs
from accuracy.rouge import METRICS
from accuracy.score import PathOverrides, ScoredRun, score_samples
from accuracy.statistics import ConfidenceInterval, mean_intervals
from base.errors import UserError
from record.answers import OddAnswers
from record.folder import RunFolder, write_text


@dataclass(slots=True, kw_only=True)
class SamplePair:
    """The answers of two runs to one sample; pairs are (before, after)."""

    qsl_index: int
    identical: bool
    """Whether both are the same tokens."""
    first_difference: int | None
    """Position of the first token that differs, from 0; None where identical."""
    tokens: tuple[int, int]
    """Lengths in tokens."""
    rouge: dict[str, tuple[float, float]]
    """Percent, by metric."""


@dataclass(slots=True, kw_only=True)
class Change:
    """How the mean of a figure over samples changed from one run to the other."""

    before: float
    after: float
    interval: ConfidenceInterval | None
    """95% interval of the mean of the differences, sample by sample."""

    @property
    def difference(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def is_noise(self) -> bool:
        """Whether the interval contains zero, so that the change may be chance."""
        return self.interval is None or self.interval[0] <= 0 <= self.interval[1]


@dataclass(slots=True, kw_only=True)
class AnswerComparison:
    """Two runs over the samples that both answered."""

    before: Path
    after: Path
    pairs: list[SamplePair]
    changes: dict[str, Change]
    """ROUGE in percent by metric, and `tokens` per sample."""
    replicas: list[ReplicaAgreement]
    """Identical answers of each replica with other replicas."""
    odd_replicas: list[OddAnswers]
    """Replicas whose answers agree less with those of the others, beyond chance."""
    notes: list[str]
    """Samples left out, and faults of either log."""

    @property
    def identical(self) -> int:
        """Number of samples answered with the same tokens."""
        return sum(pair.identical for pair in self.pairs)

    @property
    def first_differences(self) -> NDArray[np.int64]:
        """Position of the first different token of each answer that differs."""
        found = [p.first_difference for p in self.pairs]
        return np.array([f for f in found if f is not None], np.int64)


def compare_runs(
    before: RunFolder, after: RunFolder, overrides: PathOverrides
) -> AnswerComparison:
    """Compare the answers of two runs in accuracy mode.

    Raises:
        UserError: a run cannot be scored, or the two are not comparable: their data
            or vocabularies differ, or they have no sample in common.
        RecordError: a file of a run folder is missing or damaged.
    """
    runs = score_samples(before, overrides), score_samples(after, overrides)
    _check_comparable(*runs)
    rows = [
        {answer.qsl_index: row for row, answer in enumerate(run.answers.first)}
        for run in runs
    ]
    common = sorted(rows[0].keys() & rows[1].keys())
    if not common:
        raise UserError(f"{before.path} and {after.path}: no sample in common")
    first, second = (
        _table(run, [row[i] for i in common])
        for run, row in zip(runs, rows, strict=True)
    )
    intervals = mean_intervals(second - first)
    changes = {
        name: Change(before=float(a), after=float(b), interval=interval)
        for name, a, b, interval in zip(
            (*METRICS, "tokens"),
            first.mean(axis=0),
            second.mean(axis=0),
            intervals,
            strict=True,
        )
    }
    replicas, odd = agreement_of_runs([run.answers for run in runs])
    return AnswerComparison(
        before=before.path,
        after=after.path,
        pairs=[
            _pair(index, *runs, rows[0][index], rows[1][index], first[i], second[i])
            for i, index in enumerate(common)
        ],
        changes=changes,
        replicas=replicas,
        odd_replicas=odd,
        notes=list(_notes(runs, len(common))),
    )


def write_samples(path: Path, comparison: AnswerComparison) -> None:
    """Write one JSON line for each sample that both runs answered.

    Raises:
        OSError: the file cannot be written.
    """
    lines = msgspec.json.Encoder().encode_lines(comparison.pairs)
    write_text(path, lines.decode())


def _check_comparable(before: ScoredRun, after: ScoredRun) -> None:
    names = f"{before.folder.path} and {after.folder.path}"
    count = min(len(before.dataset), len(after.dataset))
    one, other = before.dataset, after.dataset
    for index in range(count):
        if one.references[index] != other.references[index]:
            raise UserError(f"{names}: the data sets differ, first in row {index}")
    if before.tokenizer.resolve() == after.tokenizer.resolve():
        return
    tokenizers = [load_tokenizer(run.tokenizer) for run in (before, after)]
    if tokenizers[0].get_vocab() != tokenizers[1].get_vocab():
        raise UserError(
            f"{names}: the vocabularies differ ({before.tokenizer}, {after.tokenizer})"
        )


def _table(run: ScoredRun, rows: list[int]) -> NDArray[np.float64]:
    """Return ROUGE in percent and tokens of the answers `rows`."""
    lengths = [len(answer.tokens) for answer in run.answers.first]
    return np.column_stack([run.scores.fmeasures * 100, lengths])[rows]


def _pair(
    index: int,
    before: ScoredRun,
    after: ScoredRun,
    row: int,
    other_row: int,
    scores: NDArray[np.float64],
    other_scores: NDArray[np.float64],
) -> SamplePair:
    one = before.answers.first[row].tokens
    other = after.answers.first[other_row].tokens
    shared = min(len(one), len(other))
    differing = np.flatnonzero(one[:shared] != other[:shared])
    identical = len(one) == len(other) and not len(differing)
    position = int(differing[0]) if len(differing) else shared
    return SamplePair(
        qsl_index=index,
        identical=identical,
        first_difference=None if identical else position,
        tokens=(len(one), len(other)),
        rouge={
            name: (float(a), float(b))
            for name, a, b in zip(METRICS, scores, other_scores, strict=False)
        },
    )


def _notes(runs: tuple[ScoredRun, ScoredRun], common: int) -> Iterator[str]:
    for run in runs:
        yield from run.answers.problems
        if left := len(run.answers.first) - common:
            yield f"{run.folder.path}: {left} answers that the other run does not have"
