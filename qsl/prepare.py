"""`python -m qsl.prepare`: converts CNN/DailyMail to MLPerf's cnn_eval.json format."""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("qsl.prepare")

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from base.benchmark import SAMPLES
from base.errors import UserError, write_failure
from base.log import track
from qsl.articles import (
    EDGE_ROWS,
    HUB,
    VALIDATION_ROWS,
    Article,
    check_texts,
    draw_edge,
    pick_calibration,
    read_articles,
)
from qsl.cnn_eval import TEMPLATE, FullRow, RowsFile, prompt, read_full_rows
from qsl.tokenizer import load_encoder

_SUITES = {count: suite.value for suite, count in SAMPLES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Digest of a data set file, and the lengths of its prompts in tokens."""

    path: Path
    sha256: str
    lengths: Sequence[int]

    def lines(self) -> Iterator[str]:
        """Yield the lines to print."""
        count = len(self.lengths)
        suite = f", as in the {_SUITES[count]} suite" if count in _SUITES else ""
        low, median, p90, high = np.percentile(self.lengths, [0, 50, 90, 100])
        yield f"{self.path}: {count} samples{suite}"
        yield f"sha256 {self.sha256}"
        yield (
            f"prompt tokens: min {low:.0f}, median {median:.0f},"
            f" mean {np.mean(self.lengths):.1f}, p90 {p90:.0f}, max {high:.0f},"
            f" total {sum(self.lengths)}"
        )


def summarize(path: Path, lengths: Sequence[int]) -> Summary:
    """Return the summary of the file `path`, whose prompts have these lengths.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Summary(path=path, sha256=digest, lengths=lengths)


_BATCH = 64
Instruction = dict[str, str] | str


def prepare(
    articles: Sequence[Article],
    encoder: Tokenizer,
    target: Path,
    instruction: Instruction,
) -> Summary:
    """Write `target` from `articles`; the next call resumes an interrupted one.

    Args:
        articles: in the order of the file.
        encoder: the model's tokenizer.
        target: file to write.
        instruction: the field `instruction` of each row.

    Raises:
        UserError: the target's folder does not exist.
        Aborted: the target cannot be written.
    """
    try:
        file = RowsFile(target, _fingerprint(articles, encoder, instruction))
        try:
            lengths = [len(row.tok_input) for row in file.rows]
            for rows in _rows(articles[len(lengths) :], encoder, instruction):
                file.append(rows)
                lengths += [len(row.tok_input) for row in rows]
            file.finish()
        finally:
            file.close()
        return summarize(target, lengths)
    except OSError as error:
        raise write_failure(target, error) from error


def check(
    path: Path,
    articles: Sequence[Article],
    encoder: Tokenizer,
    instruction: Instruction,
) -> tuple[Summary, list[str]]:
    """Compare the file `path` with what `prepare` would write.

    Returns:
        The summary of the file, and one line for each row that differs.

    Raises:
        UserError: the file is missing or damaged.
    """
    found = read_full_rows(path)
    if not found:
        raise UserError(f"{path}: contains no samples")
    problems = []
    if len(found) != len(articles):
        problems.append(f"{len(found)} rows, not {len(articles)}")
    wanted = chain.from_iterable(_rows(articles[: len(found)], encoder, instruction))
    for number, (row, other) in enumerate(zip(wanted, found, strict=False)):
        fields = [f for f in row.__struct_fields__ if _differ(row, other, f)]
        if fields:
            problems.append(f"row {number}: other {' and '.join(fields)}")
    try:
        return summarize(path, [len(row.tok_input) for row in found]), problems
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def _differ(row: FullRow, other: FullRow, name: str) -> bool:
    return bool(getattr(row, name) != getattr(other, name))


def _rows(
    articles: Sequence[Article], encoder: Tokenizer, instruction: Instruction
) -> Iterator[list[FullRow]]:
    batches = (articles[i : i + _BATCH] for i in range(0, len(articles), _BATCH))
    for batch in track(batches, len(articles), "tokenizing", weight=_BATCH):
        encoded = encoder.encode_batch([prompt(item.article) for item in batch])
        yield [
            FullRow(
                input=item.article,
                instruction=instruction,
                output=item.summary,
                tok_input=tokens.ids,
            )
            for item, tokens in zip(batch, encoded, strict=True)
        ]


def _fingerprint(
    articles: Sequence[Article], encoder: Tokenizer, instruction: Instruction
) -> str:
    digest = hashlib.sha256(encoder.to_str().encode())
    digest.update(repr(instruction).encode())
    for item in articles:
        digest.update(repr((item.article, item.summary)).encode())
    return digest.hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python -m qsl.prepare", description=__doc__)
    parser.add_argument(
        "source",
        help=f"{HUB} (from the Hugging Face hub), or a file: .jsonl, .csv or .parquet"
        " with `article` and `highlights`, or .json(.gz) in cnn_eval.json format",
    )
    parser.add_argument("tokenizer", type=Path, help="folder of the model's tokenizer")
    parser.add_argument(
        "target",
        type=Path,
        nargs="?",
        help="file to write; with --check: file to check (left out: the source)",
    )
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--edge", action="store_true", help=f"draw the edge set of {EDGE_ROWS} samples"
    )
    chosen.add_argument(
        "--calibration",
        type=Path,
        metavar="LIST",
        help="file with one id on each line: make the calibration set of these ids"
        " from the train split",
    )
    parser.add_argument(
        "--check", action="store_true", help="check the target instead of writing it"
    )
    return parser


def _run(options: argparse.Namespace) -> int:
    target: Path | None = options.target or (
        Path(options.source) if options.check and options.source != HUB else None
    )
    if target is None:
        raise UserError("no target; name the file after the tokenizer's folder")
    if target.is_dir():
        raise UserError(f"{target}: is a folder; name a file in it")
    encoder = load_encoder(options.tokenizer)
    instruction: Instruction = {"llama": TEMPLATE}
    if options.calibration is not None:
        instruction = TEMPLATE
        articles = pick_calibration(
            read_articles(options.source, "train"), options.calibration
        )
    else:
        articles = read_articles(options.source, "validation")
    if not articles:
        raise UserError(f"{options.source}: contains no articles")
    if options.edge:
        if len(articles) != VALIDATION_ROWS:
            print(
                f"note: the source has {len(articles)} articles, not"
                f" {VALIDATION_ROWS}, so this is not the benchmark's edge set"
            )
        articles = draw_edge(articles)
    check_texts(articles)
    if not options.check:
        print("\n".join(prepare(articles, encoder, target, instruction).lines()))
        return 0
    summary, problems = check(target, articles, encoder, instruction)
    print("\n".join(summary.lines()))
    return _report_check(problems)


def _report_check(problems: list[str]) -> int:
    if not problems:
        print("equal to what this command would write")
        return 0
    print(f"differences: {len(problems)}, first: {problems[0]}")
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return run_command(
        lambda: _run(_parser().parse_args(arguments)),
        interrupted="interrupted; run the same command again to resume",
    )
