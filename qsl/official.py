"""Reads data sets in MLPerf's cnn_eval.json form: a JSON list of rows."""

import gzip
import hashlib
import re
import zlib
from pathlib import Path
from typing import TypeVar

import msgspec

from base.decode import DecodeError, decode_json
from base.errors import UserError
from base.lfs import refuse_lfs_pointer

T = TypeVar("T")
_FIELD = b'"tok_input"'
_ARTICLES = (".jsonl", ".csv", ".parquet")


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


def read_rows(path: Path) -> tuple[list[Row], str]:
    """Return the rows of `path`, a JSON file that may be gzipped, and its SHA-256.

    Raises:
        UserError: no such file, or damaged; the message names the row.
    """
    raw = _read(path)
    rows = _decode(path, _unpacked(path, raw), list[Row])
    return rows, hashlib.sha256(raw).hexdigest()


def read_full_rows(path: Path) -> list[FullRow]:
    """Return the rows of `path` with their articles.

    Raises:
        UserError: no such file, or damaged; the message names the row.
    """
    return _decode(path, _unpacked(path, _read(path)), list[FullRow])


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder; name the data set's file in it") from (
            error
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"{path}: {reason}; make it with `python -m qsl.prepare`"
        ) from error
    refuse_lfs_pointer(path, raw)
    return raw


def _unpacked(path: Path, raw: bytes) -> bytes:
    try:
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged gzip file: {error}") from error


def _decode(path: Path, text: bytes, kind: type[list[T]]) -> list[T]:
    try:
        return decode_json(text, kind)
    except DecodeError as error:
        hint = ""
        if text.lstrip()[:1] == b"{" or path.suffix in _ARTICLES:
            hint = (
                "; articles are tokenized first: `python -m qsl.prepare"
                f" {path} MODEL_FOLDER OUT.json`"
            )
        raise UserError(
            f"{path}: {_row_of(text, error)}not in cnn_eval.json form: {error}{hint}"
        ) from error


def _row_of(text: bytes, error: Exception) -> str:
    """Return "row N: " if the damaged row is known, else an empty text."""
    if named := re.search(r"\$\[(\d+)\]", str(error)):
        return f"row {named[1]}: "
    if isinstance(error.__cause__, UnicodeDecodeError | type(None)):
        return ""
    byte = re.search(r"byte (\d+)", str(error))
    # Without a position the file just ends too early.
    begun = text.count(_FIELD, 0, int(byte[1]) if byte else len(text))
    return f"row {begun - 1} or the next: " if begun else ""
