"""Reads data sets in MLPerf's cnn_eval.json form: a JSON list of rows."""

import gzip
import re
import zlib
from pathlib import Path
from typing import TypeVar

import msgspec

from base.decode import DecodeError, decode_json
from base.errors import UserError

T = TypeVar("T")
_FIELD = b'"tok_input"'


class Row(msgspec.Struct):
    """The fields of a row that a run needs."""

    tok_input: list[int]
    """The prompt, as token ids."""
    output: str
    """The reference summary."""


class FullRow(msgspec.Struct):
    """A row with its article, as `qsl.prepare` writes and checks it.

    The order of the fields is theirs in a file written by the benchmark's script.
    """

    input: str
    """The article."""
    instruction: dict[str, str] | str
    """The prompt's template, by model family; in calibration data the text alone."""
    output: str
    tok_input: list[int]


def read_rows(path: Path) -> list[Row]:
    """Return the rows of `path`, a JSON file that may be gzipped.

    Raises:
        UserError: no such file, or damaged; says in which row.
    """
    return _decode(path, read_text(path), list[Row])


def read_full_rows(path: Path) -> list[FullRow]:
    """Return the rows of `path` with their articles.

    Raises:
        UserError: no such file, or damaged; says in which row.
    """
    return _decode(path, read_text(path), list[FullRow])


def read_text(path: Path) -> bytes:
    """Return the content of `path`, unpacked where it is gzipped.

    Raises:
        UserError: no such file, or a damaged gzip file.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged gzip file: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"{path}: {reason}; make it with `python -m qsl.prepare`"
        ) from error


def _decode(path: Path, text: bytes, kind: type[list[T]]) -> list[T]:
    try:
        return decode_json(text, kind)
    except DecodeError as error:
        raise UserError(
            f"{path}: {_row_of(text, error)}not in cnn_eval.json form: {error}"
        ) from error


def _row_of(text: bytes, error: Exception) -> str:
    """Return "row N: " where it can be told in which row the damage lies."""
    if named := re.search(r"\$\[(\d+)\]", str(error)):
        return f"row {named[1]}: "
    if isinstance(error.__cause__, UnicodeDecodeError):
        return ""
    byte = re.search(r"byte (\d+)", str(error))
    # Without a position the file just ends too early.
    begun = text.count(_FIELD, 0, int(byte[1]) if byte else len(text))
    return f"row {begun - 1} or the next: " if begun else ""
