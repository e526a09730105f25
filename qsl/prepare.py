"""`python -m qsl.prepare`: articles and highlights to MLPerf's cnn_eval.json form."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.progress import track
from tokenizers import Tokenizer

from conf.errors import UserError
from qsl.template import TEMPLATE, prompt


class _Article(msgspec.Struct):
    article: str
    highlights: str | list[str]


def prepare(source: Path, tokenizer: Path, target: Path) -> int:
    """Write `target` from the JSON lines of `source`; return the number of samples.

    Raises:
        UserError: an input is missing or damaged, or the target cannot be written.
    """
    try:
        encoder = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    except Exception as error:
        raise UserError(f"{tokenizer / 'tokenizer.json'}: {error}") from error
    rows = [
        {
            "instruction": {"llama": TEMPLATE},
            "input": item.article,
            "tok_input": encoder.encode(prompt(item.article)).ids,
            "output": _joined(item.highlights),
        }
        for item in track(_articles(source), "tokenising", disable=not _interactive())
    ]
    text = b"[\n" + b",\n".join(msgspec.json.encode(row) for row in rows) + b"\n]\n"
    try:
        target.write_bytes(text)
    except OSError as error:
        raise UserError(f"{target}: {error.strerror}") from error
    return len(rows)


def _articles(source: Path) -> list[_Article]:
    decoder = msgspec.json.Decoder(_Article)
    articles = []
    try:
        with source.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    articles.append(decoder.decode(line))
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise UserError(f"{source}:{number}: {error}") from error
    except OSError as error:
        raise UserError(f"{source}: {error.strerror}") from error
    return articles


def _joined(highlights: str | list[str]) -> str:
    return highlights if isinstance(highlights, str) else "\n".join(highlights)


def _interactive() -> bool:
    return sys.stderr.isatty()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m qsl.prepare", description=__doc__)
    parser.add_argument(
        "source", type=Path, help="JSON lines with `article` and `highlights`"
    )
    parser.add_argument(
        "tokenizer", type=Path, help="folder with the model's tokenizer.json"
    )
    parser.add_argument("target", type=Path, help="file to write")
    options = parser.parse_args(arguments)
    try:
        count = prepare(options.source, options.tokenizer, options.target)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.target}: {count} samples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
