"""What `python -m accuracy` prints."""

from collections.abc import Iterator

import numpy as np

from accuracy.answers import named
from accuracy.compare import AnswerComparison, Change
from accuracy.intervals import ConfidenceInterval
from accuracy.results import AccuracyResult
from accuracy.sentences import HOW_TO_GET


def result_lines(result: AccuracyResult) -> Iterator[str]:
    """Yield the lines on one run."""
    for name, value in result.scores.items():
        yield f"{value:9.4f}  {name} {_interval(result.intervals[name])}"
    yield f"{result.gen_len:9d}  gen_len, characters of {result.gen_num} answers"
    tokens = result.tokens
    interval = _interval(result.tokens_interval)
    yield f"{result.tokens_per_sample:9.2f}  tokens per sample {interval}"
    yield f"{100 * tokens.ended_by_stop:8.1f}%  ended by a stop token (EOS)"
    yield f"{100 * tokens.ended_by_length:8.1f}%  ended by the limit of tokens"
    yield _count(tokens.empty, "empty answers")
    yield _count(tokens.single, "answers of a single token")
    yield _count(tokens.double_stop, "answers with a stop token before their last one")
    if tokens.other_first is None:
        yield "        -  first tokens: not streamed"
    else:
        yield _count(tokens.other_first, "answers not beginning as reported first")
    yield f"target: {_target(result)}"
    yield f"sentence splitter: {result.splitter}"
    if not result.official_splitter:
        yield f"note: {HOW_TO_GET}"
    for problem in result.problems:
        yield f"problem: {problem}"


def comparison_lines(comparison: AnswerComparison) -> Iterator[str]:
    """Yield the lines on two runs."""
    pairs = comparison.pairs
    share = 100 * comparison.identical / len(pairs)
    yield f"before: {comparison.before}"
    yield f"after:  {comparison.after}"
    yield f"{comparison.identical} of {len(pairs)} answers identical ({share:.1f}%)"
    positions = comparison.first_differences
    if len(positions):
        low, median, high = np.percentile(positions, [0, 50, 100])
        yield (
            f"first different token of the others: median {median:.0f},"
            f" from {low:.0f} to {high:.0f} (counted from 0)"
        )
    yield f"{'':10} {'before':>9} {'after':>9} {'change':>9}"
    for name, change in comparison.changes.items():
        yield _change(name, change)
    for note in comparison.notes:
        yield f"note: {note}"


def _target(result: AccuracyResult) -> str:
    if result.no_target:
        return f"does not apply: {result.no_target}"
    return "; ".join(result.missed) or "reached"


def _interval(interval: ConfidenceInterval | None) -> str:
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""


def _count(indices: list[int], what: str) -> str:
    where = f" (index {named(indices)})" if indices else ""
    return f"{len(indices):9d}  {what}{where}"


def _change(name: str, change: Change) -> str:
    figures = f"{change.before:9.4f} {change.after:9.4f} {change.difference:+9.4f}"
    meaning = "may be chance" if change.is_noise else "more than chance"
    return f"{name:10} {figures} {_interval(change.interval)} {meaning}"
