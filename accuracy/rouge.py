"""ROUGE as MLPerf's summarization benchmark computes it."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from nltk.stem.porter import PorterStemmer
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize

from accuracy.sentences import sentence_splitter
from conf.errors import UserError
from qsl.progress import track

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
    try:
        with _mapper(processes) as mapper:
            results = list(
                track(mapper(_score, chunks), len(pairs), "ROUGE", weight=_CHUNK)
            )
    except BrokenProcessPool as error:
        raise UserError(
            f"ROUGE: one of {processes} processes was killed; is there memory left?"
        ) from error
    table = np.array([row for result in results for row in result], np.float64)
    table = table.reshape(len(pairs), len(METRICS) + 1)
    return PairScores(fmeasures=table[:, :-1], characters=table[:, -1].astype(np.int64))


def one_sentence_a_line(text: str, split: Callable[[str], list[str]]) -> str:
    """Return `text` as the benchmark scores and counts it."""
    return "\n".join(split(text.strip()))


class _StemmedWords:
    """rouge-score's default tokenizer, which stems each word only once."""

    def __init__(self) -> None:
        self.stem = cache(PorterStemmer().stem)

    def tokenize(self, text: str) -> list[str]:
        words: list[str] = tokenize(text, self)
        return words


@cache
def _scorer() -> RougeScorer:
    return RougeScorer(METRICS, tokenizer=_StemmedWords())


def _score(pairs: _Pairs) -> _Rows:
    """Return the F-measures of each pair, and the length of its prediction."""
    scorer, split = _scorer(), sentence_splitter().split
    rows = []
    for prediction, reference in pairs:
        text = one_sentence_a_line(prediction, split)
        result = scorer.score(one_sentence_a_line(reference, split), text)
        rows.append([*(result[name].fmeasure for name in METRICS), len(text)])
    return rows


_Score = Callable[[_Pairs], _Rows]
_Mapper = Callable[[_Score, list[_Pairs]], Iterator[_Rows]]


@contextmanager
def _mapper(processes: int) -> Iterator[_Mapper]:
    if processes == 1:
        yield map
        return
    # A fork would copy the threads' locks of whoever called, LoadGen's among them.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as pool:

        def started(score: _Score, chunks: list[_Pairs]) -> Iterator[_Rows]:
            with _interrupts_held():
                return pool.map(score, chunks)

        try:
            yield started
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back, also for good in processes that are started meanwhile.

    A pool whose processes are interrupted while they start can hang.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
