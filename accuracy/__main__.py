"""`mlperf-sut accuracy`: scores a run from its folder, or compares two runs."""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("accuracy.__main__")

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from accuracy.answers import named
from accuracy.compare import AnswerComparison, Change, compare_runs, write_samples
from accuracy.replicas import ReplicaAgreement, describe, replica_name
from accuracy.results import AccuracyResult
from accuracy.rouge import HOW_TO_GET
from accuracy.score import PathOverrides, score_again
from accuracy.statistics import ConfidenceInterval
from base.errors import ExitCode, write_failure
from record.folder import RunFolder

_NAMED_REPLICAS = 8


def result_lines(result: AccuracyResult) -> Iterator[str]:
    """Yield the lines that the command prints for one run."""
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
        yield _count(
            tokens.other_first, "answers whose first token was reported differently"
        )
    yield f"target: {_target(result)}"
    yield f"sentence splitter: {result.splitter}"
    if not result.official_splitter:
        yield f"note: {HOW_TO_GET}"
    for odd in result.odd_replicas:
        yield f"warning: {describe(odd)}"
    for problem in result.problems:
        yield f"problem: {problem}"


def comparison_lines(comparison: AnswerComparison) -> Iterator[str]:
    """Yield the lines that the command prints for two runs."""
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
    if len(comparison.replicas) > 1:
        yield from _agreement_lines(comparison.replicas)
    for one in comparison.odd_replicas:
        yield f"warning: {describe(one)}"
    for note in comparison.notes:
        yield f"note: {note}"


def _agreement_lines(replicas: Sequence[ReplicaAgreement]) -> Iterator[str]:
    """Yield the agreement of the replicas that agree least with the others."""
    least = sorted(replicas, key=lambda one: one.identical / one.pairs)
    yield "answers identical with those of other replicas, the fewest first:"
    for one in least[:_NAMED_REPLICAS]:
        share = 100 * one.identical / one.pairs
        name = replica_name(one.node, one.replica)
        yield f"{share:8.1f}%  {name} ({one.identical} of {one.pairs})"


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["compare"]:
        return run_command(lambda: _compare(given[1:]))
    return run_command(lambda: _score(given))


def _score(arguments: list[str]) -> int:
    parser = ArgumentParser(
        prog="python -m accuracy",
        description="Score a run in accuracy mode; write accuracy.json and"
        " accuracy.txt into its folder.",
        epilog="mlperf-sut accuracy compare RUN RUN: two runs, sample by sample",
    )
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/latest")
    _add_path_options(parser)
    options = parser.parse_args(arguments)
    result, verdict = score_again(RunFolder(options.run), _path_overrides(options))
    print("\n".join(result_lines(result)))
    if verdict is not None:
        reason = f" ({verdict.reason})" if verdict.reason else ""
        print(f"verdict of the run: {verdict.outcome}{reason}")
    return ExitCode.GOOD if result.good else ExitCode.NOT_GOOD


def _compare(arguments: list[str]) -> int:
    parser = ArgumentParser(
        prog="python -m accuracy compare",
        description="Compare the answers of two runs over the same data set: bf16"
        " with fp8, a CPU with a GPU.",
    )
    parser.add_argument("before", type=Path, help="run folder")
    parser.add_argument("after", type=Path, help="run folder")
    parser.add_argument(
        "--samples", type=Path, help="file to write, one JSON line for each sample"
    )
    _add_path_options(parser)
    options = parser.parse_args(arguments)
    before, after = RunFolder(options.before), RunFolder(options.after)
    comparison = compare_runs(before, after, _path_overrides(options))
    print("\n".join(comparison_lines(comparison)))
    if options.samples is not None:
        try:
            write_samples(options.samples, comparison)
        except OSError as error:
            raise write_failure(options.samples, error) from error
        print(f"samples: {options.samples}")
    return ExitCode.GOOD


def _add_path_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset", type=Path, help="file of the run's data set, if it was moved"
    )
    parser.add_argument(
        "--tokenizer", type=Path, help="folder of the run's tokenizer, if it was moved"
    )


def _path_overrides(options: argparse.Namespace) -> PathOverrides:
    return PathOverrides(dataset=options.dataset, tokenizer=options.tokenizer)
