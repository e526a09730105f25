"""Reads the JSON-lines files of a run folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from base.decode import DecodeError, decode_with
from record.errors import RecordError

T = TypeVar("T")

_CHUNK_BYTES = 8 * 2**20


def read_lines(path: Path, kind: type[T] | Any) -> Iterator[T]:
    """Yield each line of `path` decoded as `kind`.

    A last line without its newline was cut off when the run died: it is left out.

    Raises:
        RecordError: the file is missing, or another line does not fit `kind`.
    """
    for batch in read_batches(path, kind):
        yield from batch


def read_batches(path: Path, kind: type[T] | Any) -> Iterator[list[T]]:
    """Yield the lines of `path` as `read_lines` does, some ten thousand at a time.

    Raises:
        RecordError: the file is missing, or a whole line does not fit `kind`.
    """
    decoder = msgspec.json.Decoder(kind)
    before, rest = 0, b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                whole, newline, tail = (rest + chunk).rpartition(b"\n")
                rest = tail
                if newline:
                    yield _decode(path, decoder, whole, before)
                    before += whole.count(b"\n") + 1
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error


def cut_off(path: Path) -> bool:
    """Return whether the last line of `path` lacks its newline.

    Raises:
        RecordError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            if not file.tell():
                return False
            file.seek(-1, 2)
            return file.read(1) != b"\n"
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error


def _decode(
    path: Path, decoder: msgspec.json.Decoder[T], text: bytes, before: int
) -> list[T]:
    lines = text.split(b"\n")
    found: list[T] = []
    try:
        for line in lines:
            found.append(decode_with(decoder, line))
    except DecodeError as error:
        raise RecordError(path, str(error), before + len(found) + 1) from error
    return found
