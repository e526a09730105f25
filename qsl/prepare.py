"""`mlperf-sut prepare`: converts texts to MLPerf's cnn_eval.json format.

Without options it makes the benchmark's data set from CNN/DailyMail. With other
columns, another prompt or other answer lengths it makes a data set of your own.
"""

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

from base.benchmark import SAMPLES
from base.decode import whole_number
from base.errors import UserError, write_failure
from base.log import track
from qsl.answer_lengths import AnswerLengths, parse_answer_lengths
from qsl.articles import (
    CNN_DAILYMAIL,
    EDGE_ROWS,
    HUB,
    VALIDATION_ROWS,
    Article,
    SourceColumns,
    check_texts,
    draw_edge,
    is_hub_name,
    pick_calibration,
    read_articles,
)
from qsl.cnn_eval import TEMPLATE, FullRow, RowsFile, read_full_rows
from qsl.prompting import Prompting, load_prompting, read_template

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How rows are made of articles."""

    prompting: Prompting
    instruction: Instruction
    """The field `instruction` of each row."""
    lengths: AnswerLengths | None = None
    """Of answers; None: they end by themselves."""

    def rows(self, articles: Sequence[Article], begin: int) -> Iterator[list[FullRow]]:
        """Yield the rows of `articles[begin:]` in batches."""
        lengths: list[int | None] = [None] * len(articles)
        if self.lengths is not None:
            lengths = [*self.lengths.draw(articles, self.prompting.encoder)]
        left = range(begin, len(articles), _BATCH)
        count = len(articles) - begin
        for start in track(left, count, "tokenizing", weight=_BATCH):
            batch = articles[start : start + _BATCH]
            encoded = self.prompting.encode([item.article for item in batch])
            yield [
                FullRow(
                    input=item.article,
                    instruction=self.instruction,
                    output=item.summary,
                    tok_input=ids,
                    output_tokens=length,
                )
                for item, ids, length in zip(
                    batch, encoded, lengths[start : start + _BATCH], strict=True
                )
            ]

    def fingerprint(self, articles: Sequence[Article]) -> str:
        """Return a digest that differs where rows would."""
        digest = hashlib.sha256(self.prompting.encoder.to_str().encode())
        for part in (self.instruction, self.prompting.fingerprint, self.lengths):
            digest.update(repr(part).encode())
        for item in articles:
            digest.update(repr((item.article, item.summary, item.length)).encode())
        return digest.hexdigest()


def prepare(articles: Sequence[Article], target: Path, recipe: Recipe) -> Summary:
    """Write `target` from `articles`; the next call resumes an interrupted one.

    Args:
        articles: in the order of the file.
        target: file to write.
        recipe: of its rows.

    Raises:
        UserError: the target's folder does not exist.
        Aborted: the target cannot be written.
    """
    try:
        file = RowsFile(target, recipe.fingerprint(articles))
        try:
            lengths = [len(row.tok_input) for row in file.rows]
            for rows in recipe.rows(articles, len(lengths)):
                file.append(rows)
                lengths += [len(row.tok_input) for row in rows]
            file.finish()
        finally:
            file.close()
        return summarize(target, lengths)
    except OSError as error:
        raise write_failure(target, error) from error


def check(
    path: Path, articles: Sequence[Article], recipe: Recipe
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
    wanted = chain.from_iterable(recipe.rows(articles[: len(found)], 0))
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


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python -m qsl.prepare", description=__doc__)
    parser.add_argument(
        "source",
        help=f"{HUB} or another OWNER/NAME on the Hugging Face hub, or a file: .jsonl,"
        " .csv or .parquet with `article` and `highlights`, or .json(.gz) in"
        " cnn_eval.json format",
    )
    parser.add_argument("tokenizer", type=Path, help="folder of the model's tokenizer")
    parser.add_argument(
        "target",
        type=Path,
        nargs="?",
        help="file to write; with --check: file to check (default: the source)",
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
    own = parser.add_argument_group("data of your own")
    own.add_argument("--text-column", metavar="NAME", help="default: article")
    own.add_argument("--reference-column", metavar="NAME", help="default: highlights")
    own.add_argument(
        "--no-references", action="store_true", help="the source has no references"
    )
    own.add_argument("--split", help="split on the hub; default: validation")
    own.add_argument(
        "--subset", metavar="NAME", help="subset (configuration) on the hub"
    )
    own.add_argument(
        "--limit", type=_count, metavar="N", help="take only the first N rows"
    )
    own.add_argument(
        "--prompt",
        metavar="TEXT",
        help="prompt with {input} where the text goes, or @FILE; default: the"
        " benchmark's",
    )
    own.add_argument(
        "--chat-template",
        action="store_true",
        help="put the prompt into the checkpoint's chat template, as the user's turn",
    )
    own.add_argument(
        "--output-tokens",
        metavar="LENGTHS",
        help="tokens that each answer must have: N, LOW-HIGH, normal:MEAN:DEVIATION,"
        " reference or column:NAME; default: answers end by themselves",
    )
    return parser


def _count(text: str) -> int:
    value = whole_number(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text}: write a number above 0")
    return value


def _columns(
    options: argparse.Namespace, lengths: AnswerLengths | None
) -> SourceColumns:
    if options.no_references and options.reference_column:
        raise UserError("give either --reference-column or --no-references")
    if options.no_references and lengths is not None and lengths.kind == "reference":
        raise UserError("--output-tokens reference needs references")
    reference = options.reference_column or CNN_DAILYMAIL.reference
    return SourceColumns(
        text=options.text_column or CNN_DAILYMAIL.text,
        reference=None if options.no_references else reference,
        length=lengths.column if lengths is not None else None,
    )


def _recipe(options: argparse.Namespace, lengths: AnswerLengths | None) -> Recipe:
    template = TEMPLATE if options.prompt is None else read_template(options.prompt)
    is_own = options.prompt is not None or options.chat_template
    if is_own and (options.edge or options.calibration is not None):
        raise UserError(
            "--edge and --calibration make the benchmark's data; leave out --prompt and"
            " --chat-template"
        )
    prompting = load_prompting(options.tokenizer, template, chat=options.chat_template)
    # As in the benchmark's files, where a row names its prompt by model family.
    instruction: Instruction = template if is_own else {"llama": TEMPLATE}
    if options.calibration is not None:
        instruction = TEMPLATE
    return Recipe(prompting=prompting, instruction=instruction, lengths=lengths)


def _same_file(target: Path, source: str) -> bool:
    try:
        return target.samefile(source)
    except OSError:
        return False


def _run(options: argparse.Namespace) -> int:
    target: Path | None = options.target or (
        Path(options.source)
        if options.check and not is_hub_name(options.source)
        else None
    )
    if target is None:
        raise UserError(
            "no target file; write its path as the third argument, after the tokenizer"
        )
    if target.is_dir():
        raise UserError(f"{target}: is a folder; name a file in it")
    if not options.check and _same_file(target, options.source):
        raise UserError(f"{target}: is the source; name another file to write")
    lengths = None
    if options.output_tokens is not None:
        lengths = parse_answer_lengths(options.output_tokens)
    columns = _columns(options, lengths)
    recipe = _recipe(options, lengths)
    _refuse_hub_only(options)
    is_calibration = options.calibration is not None
    split = options.split or ("train" if is_calibration else "validation")
    articles = read_articles(options.source, split, columns, options.subset)
    if is_calibration:
        articles = pick_calibration(articles, options.calibration)
    if not articles:
        raise UserError(f"{options.source}: contains no articles")
    if options.edge:
        if len(articles) != VALIDATION_ROWS:
            print(
                f"note: the source has {len(articles)} articles, not"
                f" {VALIDATION_ROWS}, so this is not the benchmark's edge set"
            )
        articles = draw_edge(articles)
    articles = articles[: options.limit]
    check_texts(articles, references=columns.reference is not None)
    if not options.check:
        print("\n".join(prepare(articles, target, recipe).lines()))
        return 0
    summary, problems = check(target, articles, recipe)
    print("\n".join(summary.lines()))
    return _report_check(problems)


def _refuse_hub_only(options: argparse.Namespace) -> None:
    for name in ("split", "subset"):
        if getattr(options, name) and not is_hub_name(options.source):
            raise UserError(
                f"--{name} is for data sets on the hub, and {options.source} is a file;"
                " leave it out"
            )


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
