"""ROUGE as MLPerf's summarization benchmark computes it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accuracy.processes import parallel_map
from accuracy.sentences import load_nltk, sentence_splitter
from qsl.progress import track

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_CHUNK = 64
_WORTH_PROCESSES = 1024
_MOST_PROCESSES = 16
_Pairs = list[tuple[str, str]]
_Rows = list[list[float]]


@dataclass(slots=True, kw_only=True)
class PairScores:
    """Scores of pairs of texts, in their order."""

    fmeasures: NDArray[np.float64]
    """F-measure of each pair and metric, 0 to 1, shape (pairs, metrics)."""
    characters: NDArray[np.int64]
    """Length of each prediction as the benchmark counts it, shape (pairs,)."""

    def percent(self) -> dict[str, float]:
        """Return the mean of each metric in percent, rounded to 4 decimals.

        A contiguous row is summed as the benchmark's script sums its lists, so that
        also the last bit before rounding is the same.
        """
        means = [np.mean(row) for row in np.ascontiguousarray(self.fmeasures.T)]
        return {
            name: float(round(mean * 100, 4))
            for name, mean in zip(METRICS, means, strict=True)
        }


def score_pairs(predictions: Sequence[str], references: Sequence[str]) -> PairScores:
    """Return ROUGE-1, -2, -L and -Lsum and the length of each pair of texts.

    Stemmed; one sentence a line. Source: Lin, "ROUGE: A Package for Automatic
    Evaluation of Summaries" (2004), as implemented by rouge-score.

    Raises:
        UserError: a process that helped was killed.
    """
    pairs = list(zip(predictions, references, strict=True))
    chunks = [pairs[i : i + _CHUNK] for i in range(0, len(pairs), _CHUNK)]
    processes = min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
    if len(pairs) < _WORTH_PROCESSES:
        processes = 1
    scored = parallel_map(_score, chunks, processes)
    rows = chain.from_iterable(track(scored, len(pairs), "ROUGE", weight=_CHUNK))
    table = np.array(list(rows), np.float64)
    table = table.reshape(len(pairs), len(METRICS) + 1)
    return PairScores(fmeasures=table[:, :-1], characters=table[:, -1].astype(np.int64))


def one_sentence_a_line(text: str, split: Callable[[str], list[str]]) -> str:
    """Return `text` as the benchmark scores and counts it."""
    return "\n".join(split(text.strip()))


class _StemmedWords:
    """rouge-score's default tokenizer, which stems each word only once."""

    def __init__(self) -> None:
        load_nltk()
        from nltk.stem.porter import PorterStemmer
        from rouge_score.tokenize import tokenize

        self.stem = cache(PorterStemmer().stem)
        self._split = tokenize

    def tokenize(self, text: str) -> list[str]:
        words: list[str] = self._split(text, self)
        return words


@cache
def _scorer() -> "RougeScorer":
    words = _StemmedWords()
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(METRICS, tokenizer=words)


def _score(pairs: _Pairs) -> _Rows:
    """Return the F-measures of each pair, and the length of its prediction."""
    scorer, split = _scorer(), sentence_splitter().split
    rows = []
    for prediction, reference in pairs:
        text = one_sentence_a_line(prediction, split)
        result = scorer.score(one_sentence_a_line(reference, split), text)
        rows.append([*(result[name].fmeasure for name in METRICS), len(text)])
    return rows
