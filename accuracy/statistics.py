"""What the answers' tokens say about the engine, and confidence intervals of means."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy.answers import FirstAnswers
from record.loadgen_log import Answer

CONFIDENCE = 0.95
_RESAMPLES = 1000
_BATCH = 50
_SEED = 20_250_101

ConfidenceInterval = tuple[float, float]


def mean_intervals(values: NDArray[np.float64]) -> list[ConfidenceInterval | None]:
    """Return the 95% interval of the mean of each column, by bootstrap.

    Percentile bootstrap: samples are drawn with replacement 1,000 times, and the
    interval contains the middle 95% of the means. The seed is fixed, so that the same
    log gives the same interval. Source: Efron and Tibshirani, "An Introduction
    to the Bootstrap" (1993), chapter 13, as implemented by scipy.

    Args:
        values: shape (samples, columns).

    Returns:
        Low and high end for each column, in the unit of `values`; None where there
        are fewer than two samples.
    """
    if len(values) < 2:
        return [None] * values.shape[1]
    from scipy.stats import bootstrap  # takes a second, which few commands need

    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        axis=0,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return [
        (float(low), float(high))
        for low, high in zip(found.low, found.high, strict=True)
    ]


@dataclass(slots=True, kw_only=True)
class TokenStatistics:
    """Lengths and ends of answers; lists hold indices of the data set."""

    lengths: NDArray[np.int64]
    """Tokens of each answer, including its stop token, shape (answers,)."""
    ended_by_stop: float
    """Share of answers, 0 to 1, whose last token is a stop token (EOS)."""
    ended_by_length: float
    """Share of answers, 0 to 1, that ended at the token limit."""
    empty: list[int]
    """Answers without a token."""
    single: list[int]
    """Answers of one token, usually only a stop token."""
    double_stop: list[int]
    """Answers with a stop token before their last token."""
    other_first: list[int] | None
    """Answers whose first token differs from the one that was streamed; None if the
    run did not stream."""


def token_statistics(
    answers: FirstAnswers, stop_token_ids: Sequence[int], streaming: bool
) -> TokenStatistics:
    """Return the statistics of at least one answer."""
    stops = np.array(stop_token_ids, np.int32)
    chosen = answers.first
    stopped = [bool(np.isin(a.tokens[-1:], stops).any()) for a in chosen]
    cut = [
        reason == "length" and not stop
        for reason, stop in zip(answers.finish_reasons, stopped, strict=True)
    ]
    return TokenStatistics(
        lengths=np.array([len(a.tokens) for a in chosen], np.int64),
        ended_by_stop=float(np.mean(stopped)),
        ended_by_length=float(np.mean(cut)),
        empty=[a.qsl_index for a in chosen if len(a.tokens) == 0],
        single=[a.qsl_index for a in chosen if len(a.tokens) == 1],
        double_stop=[
            a.qsl_index for a in chosen if np.isin(a.tokens[:-1], stops).any()
        ],
        other_first=[a.qsl_index for a in chosen if not _first_agrees(a)]
        if streaming
        else None,
    )


def _first_agrees(answer: Answer) -> bool:
    return answer.first is not None and np.array_equal(answer.first, answer.tokens[:1])
