"""Reads and writes data sets in MLPerf's cnn_eval.json form: a JSON list of rows."""

import errno
import fcntl
import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from base.decode import DecodeError, decode_json
from base.errors import UserError
from base.files import refuse_lfs_pointer
from base.log import announce

TEMPLATE = (
    "Summarize the following news article in 128 tokens. Please output the summary"
    " only, without any other text.\n\nArticle:\n{input}\n\nSummary:"
)


def prompt(article: str) -> str:
    """Return the prompt for `article`, as text."""
    return TEMPLATE.replace("{input}", article)


T = TypeVar("T")
_FIELD = b'"tok_input"'
_ARTICLES = (".jsonl", ".csv", ".parquet")


class Row(msgspec.Struct):
    """The fields of a row that a run needs."""

    tok_input: list[int]
    """The prompt, as token ids."""
    output: str
    """The reference summary; empty where there is none."""
    output_tokens: int | None = None
    """Tokens that the answer must have; None: it ends by itself."""


class FullRow(msgspec.Struct, omit_defaults=True):
    """A row with its article, as `qsl.prepare` writes and checks it.

    Fields are in the order in which the benchmark's script writes them.
    """

    input: str
    """The article."""
    instruction: dict[str, str] | str
    """The prompt template by model family; in calibration data only the text."""
    output: str
    tok_input: list[int]
    output_tokens: int | None = None


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
        raise UserError(f"{path}: is a folder; name a file in it") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"{path}: {reason}; make it with `mlperf-sut prepare`"
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
                "; articles must be tokenized first: `mlperf-sut prepare"
                f" {path} MODEL_FOLDER OUT.json`"
            )
        raise UserError(
            f"{path}: {_row_of(text, error)}not in cnn_eval.json format: {error}{hint}"
        ) from error


def _row_of(text: bytes, error: Exception) -> str:
    """Return "row N: " if the damaged row is known, else an empty text."""
    if named := re.search(r"\$\[(\d+)\]", str(error)):
        return f"row {named[1]}: "
    if isinstance(error.__cause__, UnicodeDecodeError | type(None)):
        return ""
    byte = re.search(r"byte (\d+)", str(error))
    # An error without a position means that the file ends too early.
    begun = text.count(_FIELD, 0, int(byte[1]) if byte else len(text))
    return f"row {begun - 1} or the next: " if begun else ""


_OPEN, _BETWEEN, _CLOSE = b"[\n", b",\n", b"\n]"
_INDENT = 4
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of file systems without locks (some Lustre, NFS and FUSE mounts)."""
_ROW_END = b"\n    },\n"


class RowsFile:
    """Writes a JSON list of rows into a draft, which replaces the target at the end.

    The draft is beside the target. Its name has a fingerprint of the input, so that an
    interrupted call is resumed only with the same input.
    """

    def __init__(self, target: Path, fingerprint: str) -> None:
        """Open the draft of an interrupted call, or a new one.

        Raises:
            OSError: the draft cannot be read or written, or another call is using it.
        """
        self._target = target
        self._draft = target.with_name(f".{target.name}.{fingerprint[:12]}.part")
        self._file = self._draft.open("ab+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise OSError(error.errno, "another call is writing it") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                self._file.close()
                raise
            announce(
                f"note: the file system of {target} has no locks; do not write this"
                " file by two calls at once"
            )
        self._file.seek(0)
        body = self._file.read()
        self.rows = _whole_rows(body)
        """Rows of the earlier draft, decoded."""
        self._file.truncate(body.rfind(_ROW_END) + len(_ROW_END) if self.rows else 0)
        if not self.rows:
            self._file.write(_OPEN)

    def append(self, rows: Sequence[FullRow]) -> None:
        """Write one or more rows to the draft.

        Raises:
            OSError: the draft cannot be written, e.g. because the disk is full.
        """
        text = msgspec.json.format(msgspec.json.encode(rows), indent=_INDENT)
        self._file.write(text[len(_OPEN) : -len(_CLOSE)] + _BETWEEN)
        self._file.flush()

    def finish(self) -> None:
        """Complete the draft and replace the target by it.

        Raises:
            OSError: the target cannot be written.
        """
        self._file.seek(-len(_BETWEEN), os.SEEK_END)
        self._file.truncate()
        self._file.write(_CLOSE)
        self.close()
        self._draft.replace(self._target)

    def close(self) -> None:
        """Close the draft; it is kept."""
        self._file.close()


def _whole_rows(body: bytes) -> list[FullRow]:
    end = body.rfind(_ROW_END)
    if end < 0:
        return []
    text = body[: end + len(_ROW_END) - len(_BETWEEN)] + _CLOSE
    try:
        return decode_json(text, list[FullRow])
    except DecodeError:
        return []
