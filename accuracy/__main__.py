"""`python -m accuracy`: scores a run from its folder, or compares two runs."""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("accuracy.__main__")

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from accuracy.compare import compare_runs, write_samples
from accuracy.console import comparison_lines, result_lines
from accuracy.score import PathOverrides, score_again
from base.errors import ExitCode, write_failure
from record.folder import RunFolder


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
        epilog="python -m accuracy compare RUN RUN: two runs, sample by sample",
    )
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/latest")
    _add_elsewhere(parser)
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
    _add_elsewhere(parser)
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


def _add_elsewhere(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset", type=Path, help="the run's data set, where it lies now"
    )
    parser.add_argument(
        "--tokenizer", type=Path, help="folder of the run's tokenizer, as it lies now"
    )


def _path_overrides(options: argparse.Namespace) -> PathOverrides:
    return PathOverrides(dataset=options.dataset, tokenizer=options.tokenizer)
