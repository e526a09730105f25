"""Reads articles and their reference summaries from the source of `qsl.prepare`.

`datasets` takes a second to import, so only the functions that need it import it.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
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
_SUFFIXES = (".jsonl", ".csv", ".parquet", ".json", ".gz")
_ENDS = ".jsonl, .csv, .parquet, or .json or .json.gz in cnn_eval.json form"
VALIDATION_ROWS = SAMPLES[Benchmark.datacenter]
EDGE_ROWS = SAMPLES[Benchmark.edge]
_EDGE_SEED = 42
_HEAD_BYTES = 64
_BOM = b"\xef\xbb\xbf"
_LARGEST_CELL = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceColumns:
    """The columns of a source that are read."""

    text: str = "article"
    reference: str | None = "highlights"
    """None: there are no references."""
    length: str | None = None
    """Tokens that each answer must have; None: answers end by themselves."""

    @property
    def required(self) -> list[str]:
        """Names that a source must have."""
        return [name for name in (self.text, self.reference, self.length) if name]


CNN_DAILYMAIL = SourceColumns()


class _Row(msgspec.Struct):
    """One row of a source; fields that only some uses need may be missing."""

    text: str | None = None
    reference: str | list[str] | None = None
    """One sentence on each line, or a list of sentences."""
    id: str | int | None = None
    length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """A text with its reference: an article of CNN/DailyMail and its summary."""

    article: str
    summary: str
    """One sentence on each line; empty where the source has no references."""
    id: str = ""
    length: int | None = None
    """Tokens that the answer must have, where a column of the source says so."""
    where: str = ""
    """File and row, for messages."""


def read_articles(
    source: str,
    split: str,
    columns: SourceColumns = CNN_DAILYMAIL,
    subset: str | None = None,
) -> list[Article]:
    """Return the articles of `source` in its order; some may be empty.

    Args:
        source: the data set's name on the Hugging Face hub, or a file.
        split: the split to take from the hub; a file has only one.
        columns: names of the columns to read.
        subset: of the data set on the hub; None: its only one.

    Raises:
        UserError: the source is missing, cannot be reached or is damaged; the message
            names the row.
    """
    path = Path(source)
    if is_hub_name(source):
        return _from_hub(source, split, columns, subset)
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
        raise UserError(
            f"{source}: neither OWNER/NAME on the Hugging Face hub nor a file that"
            f" ends in {_ENDS}"
        )
    try:
        with path.open("rb") as file:
            refuse_lfs_pointer(path, file.read(_HEAD_BYTES))
        articles = list(readers[path.suffix](path, columns))
    except OSError as error:
        # Errors of pyarrow have no number and several lines.
        reason = error.strerror or " ".join(str(error).split())
        raise UserError(f"{path}: {reason}") from error
    return articles


def is_hub_name(source: str) -> bool:
    """Return whether `source` is a data set on the Hugging Face hub, not a file."""
    named = bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source))
    # A folder of that name is a copy of the data set, which `datasets` reads as well.
    is_file = Path(source).is_file() or Path(source).suffix in _SUFFIXES
    return named and not is_file


def check_texts(articles: Sequence[Article], *, references: bool = True) -> None:
    """Check that each article has an article text and, if asked, a summary.

    Raises:
        UserError: a text is missing or only white space; the message names the row.
    """
    for item in articles:
        if not item.article.strip():
            raise UserError(f"{item.where}: has no article")
        if references and not item.summary.strip():
            raise UserError(f"{item.where}: has no summary")


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


def _from_hub(
    source: str, split: str, columns: SourceColumns, subset: str | None
) -> list[Article]:
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"{source}: reading from the Hugging Face hub needs the extra [data]: pip"
            " install 'mlperf-loadgen-sut[data]'"
        ) from error
    is_benchmark = source == HUB
    try:
        rows = datasets.load_dataset(
            source, subset or (_VERSION if is_benchmark else None), split=split
        )
        articles = list(_from_table(source, rows.data.table, columns))
    except UserError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{source}: {lines[0]}; if the hub cannot be reached, give a file with its"
            f" {split} split instead: {_ENDS}"
        ) from error
    if is_benchmark and split == "validation" and len(articles) != VALIDATION_ROWS:
        raise UserError(
            f"{HUB}: {len(articles)} rows in its {split} split, not {VALIDATION_ROWS}"
        )
    return articles


def _from_jsonl(path: Path, columns: SourceColumns) -> Iterator[Article]:
    decoder = msgspec.json.Decoder(dict[str, object])
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if not text.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = decode_with(decoder, text)
            except DecodeError as error:
                raise UserError(f"{where}: {error}") from error
            # Rows of one file may differ, and CNN/DailyMail's may lack what is not
            # needed; a name that the user gave must be in each row.
            if columns != CNN_DAILYMAIL:
                _check_columns(where, list(row), columns)
            yield _converted(where, row, columns)


def _from_csv(path: Path, columns: SourceColumns) -> Iterator[Article]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        csv.field_size_limit(_LARGEST_CELL)
        rows = csv.DictReader(file, strict=True)
        number = 0
        try:
            names = list(rows.fieldnames or [])
            _check_header(path, names)
            _check_columns(str(path), names, columns)
            for number, row in enumerate(rows, 1):
                yield _converted(f"{path}: row {number}", row, columns)
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 text; save it as UTF-8") from error
        except csv.Error as error:
            raise UserError(f"{path}: row {number + 1}: {error}") from error


def _check_header(path: Path, names: Sequence[str]) -> None:
    """Check the names of a CSV file's columns.

    Raises:
        UserError: there are none, a name is there twice, or no comma separates them.
    """
    if not names:
        raise UserError(f"{path}: is empty; its first line must name the columns")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{path}: two columns are named {twice[0]}; rename one")
    if len(names) == 1 and (separator := re.search("[;\t|]", names[0])):
        raise UserError(
            f"{path}: {separator[0]!r} separates its columns; save it with commas"
        )


def _from_parquet(path: Path, columns: SourceColumns) -> Iterator[Article]:
    try:
        with path.open("rb") as file:
            table = pyarrow.parquet.read_table(file)
            yield from _from_table(str(path), table, columns)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        # pyarrow decodes names and values only when they are used.
        lines = str(error).splitlines() or ["no Parquet file"]
        raise UserError(f"{path}: {lines[0]}") from error


def _from_table(
    source: str, table: pa.Table, columns: SourceColumns
) -> Iterator[Article]:
    _check_columns(source, table.column_names, columns)
    wanted = dict.fromkeys([*columns.required, "id"])
    kept = [name for name in wanted if name in table.schema.names]
    for number, row in enumerate(table.select(kept).to_pylist(), 1):
        yield _converted(f"{source}: row {number}", row, columns)


def _check_columns(source: str, names: Sequence[str], columns: SourceColumns) -> None:
    for name in columns.required:
        if name not in names:
            raise UserError(
                f"{source}: no column {name}; it has {', '.join(map(str, names))[:200]}"
            )


def _converted(
    where: str, row: Mapping[str, object], columns: SourceColumns
) -> Article:
    picked = {"text": row.get(columns.text), "id": row.get("id")}
    if columns.reference is not None:
        picked["reference"] = row.get(columns.reference)
    if columns.length is not None:
        picked["length"] = row.get(columns.length)
    try:
        # CSV has only texts.
        strict = not isinstance(picked.get("length"), str)
        return _article(where, msgspec.convert(picked, _Row, strict=strict))
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: {_by_name(str(error), columns)}") from error


def _by_name(message: str, columns: SourceColumns) -> str:
    """Return a message of msgspec with the source's own column names."""
    for field in ("text", "reference", "length"):
        message = message.replace(f"$.{field}", f"$.{getattr(columns, field)}")
    return message


def _article(where: str, row: _Row) -> Article:
    parts = row.reference or ""
    return Article(
        article=row.text or "",
        summary=parts if isinstance(parts, str) else "\n".join(parts),
        id="" if row.id is None else str(row.id),
        length=row.length,
        where=where,
    )
