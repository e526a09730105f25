"""Reads articles and their reference summaries from the source of `qsl.prepare`.

`datasets` takes a second to import, so only the functions that need it import it.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet

from base.benchmark import SAMPLES, Benchmark
from base.decode import DecodeError, decode_with
from base.errors import UserError
from base.files import refuse_lfs_pointer
from qsl.cnn_eval import read_full_rows

HUB = "abisee/cnn_dailymail"
_VERSION = "3.0.0"
_ENDS = ".jsonl, .csv, .parquet, or .json or .json.gz in cnn_eval.json form"
VALIDATION_ROWS = SAMPLES[Benchmark.datacenter]
EDGE_ROWS = SAMPLES[Benchmark.edge]
_EDGE_SEED = 42
_HEAD_BYTES = 64
_COLUMNS = ("article", "highlights", "id")
_BOM = b"\xef\xbb\xbf"
_LARGEST_CELL = 2**31 - 1


class _Row(msgspec.Struct):
    """One row of a source; fields that only some uses need may be missing."""

    article: str | None = None
    highlights: str | list[str] | None = None
    """The reference summary: one sentence on each line, or a list of sentences."""
    id: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """An article of CNN/DailyMail with its reference summary."""

    article: str
    summary: str
    """One sentence on each line."""
    id: str = ""
    where: str = ""
    """File and row, for messages."""


def read_articles(source: str, split: str) -> list[Article]:
    """Return the articles of `source` in its order; some may be empty.

    Args:
        source: the data set's name on the Hugging Face hub, or a file.
        split: the split to take from the hub; a file has only one.

    Raises:
        UserError: the source is missing, cannot be reached or is damaged; the message
            names the row.
    """
    if source == HUB:
        return _from_hub(split)
    path = Path(source)
    readers = {".jsonl": _from_jsonl, ".csv": _from_csv, ".parquet": _from_parquet}
    if path.suffix in (".json", ".gz"):
        rows = read_full_rows(path)
        return [
            Article(
                article=row.input, summary=row.output, where=f"{path}: row {number}"
            )
            for number, row in enumerate(rows, 1)
        ]
    if path.suffix not in readers:
        raise UserError(f"{source}: neither {HUB} nor a file that ends in {_ENDS}")
    try:
        with path.open("rb") as file:
            refuse_lfs_pointer(path, file.read(_HEAD_BYTES))
        articles = list(readers[path.suffix](path))
    except OSError as error:
        # Errors of pyarrow have no number and several lines.
        reason = error.strerror or " ".join(str(error).split())
        raise UserError(f"{path}: {reason}") from error
    return articles


def check_texts(articles: Sequence[Article]) -> None:
    """Check that each article has an article text and a summary.

    Raises:
        UserError: a text is missing or only white space; the message names the row.
    """
    for item in articles:
        for name, text in (("article", item.article), ("summary", item.summary)):
            if not text.strip():
                raise UserError(f"{item.where}: has no {name}")


def draw_edge(articles: list[Article]) -> list[Article]:
    """Return the 5,000 articles of the edge benchmark, in its order.

    The benchmark takes the first 5,000 of the validation split after shuffling it by
    `datasets` with seed 42.

    Raises:
        UserError: there are fewer articles.
    """
    if len(articles) < EDGE_ROWS:
        raise UserError(
            f"--edge draws {EDGE_ROWS} articles, but the source has {len(articles)}"
        )
    import datasets

    rows = datasets.Dataset.from_dict({"row": list(range(len(articles)))})
    drawn = rows.shuffle(seed=_EDGE_SEED)[:EDGE_ROWS]["row"]
    return [articles[row] for row in drawn]


def pick_calibration(articles: list[Article], listing: Path) -> list[Article]:
    """Return the articles whose ids the file `listing` has, in its order.

    Raises:
        UserError: the list is missing or empty, or no article or different articles
            have an id.
    """
    try:
        wanted = listing.read_text(encoding="utf-8-sig").split()
    except OSError as error:
        raise UserError(f"{listing}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{listing}: not a list of ids: {error}") from error
    if not wanted:
        raise UserError(f"{listing}: contains no ids")
    by_id: dict[str, Article] = {}
    others: dict[str, Article] = {}
    for item in articles:
        known = by_id.setdefault(item.id, item)
        if (known.article, known.summary) != (item.article, item.summary):
            others.setdefault(item.id, item)
    for number, name in enumerate(wanted, 1):
        if name not in by_id:
            raise UserError(f"{listing}:{number}: no article has the id {name}")
        if name in others:
            raise UserError(
                f"{listing}:{number}: the id {name} has different texts:"
                f" {by_id[name].where} and {others[name].where}"
            )
    return [by_id[name] for name in wanted]


def _from_hub(split: str) -> list[Article]:
    import datasets

    try:
        rows = datasets.load_dataset(HUB, _VERSION, split=split)
        articles = list(_from_table(HUB, rows.data.table))
    except UserError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{HUB}: {lines[0]}; if the hub cannot be reached, give a file with its"
            f" {split} split instead: {_ENDS}"
        ) from error
    if split == "validation" and len(articles) != VALIDATION_ROWS:
        raise UserError(
            f"{HUB}: {len(articles)} rows in its {split} split, not {VALIDATION_ROWS}"
        )
    return articles


def _from_jsonl(path: Path) -> Iterator[Article]:
    decoder = msgspec.json.Decoder(_Row)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if not text.strip():
                continue
            try:
                row = decode_with(decoder, text)
            except DecodeError as error:
                raise UserError(f"{path}:{number}: {error}") from error
            yield _article(f"{path}:{number}", row)


def _from_csv(path: Path) -> Iterator[Article]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        csv.field_size_limit(_LARGEST_CELL)
        rows = csv.DictReader(file, strict=True)
        number = 0
        try:
            _check_columns(str(path), rows.fieldnames or [])
            for number, row in enumerate(rows, 1):
                yield _converted(f"{path}: row {number}", row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(f"{path}: row {number + 1}: {error}") from error


def _from_parquet(path: Path) -> Iterator[Article]:
    try:
        with path.open("rb") as file:
            yield from _from_table(str(path), pyarrow.parquet.read_table(file))
    except (pa.ArrowException, ValueError, OverflowError) as error:
        # pyarrow decodes names and values only when they are used.
        lines = str(error).splitlines() or ["no Parquet file"]
        raise UserError(f"{path}: {lines[0]}") from error


def _from_table(source: str, table: pa.Table) -> Iterator[Article]:
    _check_columns(source, table.column_names)
    kept = [name for name in _COLUMNS if name in table.schema.names]
    for number, row in enumerate(table.select(kept).to_pylist(), 1):
        yield _converted(f"{source}: row {number}", row)


def _check_columns(source: str, names: Sequence[str]) -> None:
    for name in _COLUMNS[:2]:
        if name not in names:
            raise UserError(f"{source}: no column {name}")


def _converted(where: str, row: object) -> Article:
    try:
        return _article(where, msgspec.convert(row, _Row))
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: {error}") from error


def _article(where: str, row: _Row) -> Article:
    parts = row.highlights or ""
    return Article(
        article=row.article or "",
        summary=parts if isinstance(parts, str) else "\n".join(parts),
        id="" if row.id is None else str(row.id),
        where=where,
    )
