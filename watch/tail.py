"""Reads the files of a run folder while they grow."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from base.decode import DecodeError, decode_with

T = TypeVar("T")
_CHUNK_BYTES = 4 * 2**20
_LONGEST_LINE = 2**20
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""A pipe in the place of the file must not hold up the view."""


class Tail(Generic[T]):
    """The lines that were added to a JSON Lines file since the last look.

    Lines that do not fit are skipped: a view of a run must not end with one of them.
    """

    def __init__(self, path: Path, kind: type[T]) -> None:
        """Read `path`, which may not exist yet, from its begin."""
        self._path = path
        self._decoder = msgspec.json.Decoder(kind)
        self._offset = 0
        self._rest = b""

    def read(self) -> Iterator[list[T]]:
        """Yield what is new, in batches."""
        # Opened for each look: a view that is closed leaves nothing open.
        try:
            with open(os.open(self._path, _READ), "rb") as file:  # noqa: PTH123
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    return
                file.seek(self._offset)
                while chunk := file.read(_CHUNK_BYTES):
                    self._offset += len(chunk)
                    whole, newline, tail = (self._rest + chunk).rpartition(b"\n")
                    self._rest = tail if len(tail) < _LONGEST_LINE else b""
                    if newline and (lines := self._decode(whole)):
                        yield lines
        except OSError:
            return

    def _decode(self, text: bytes) -> list[T]:
        try:
            return self._decoder.decode_lines(text)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
            return [line for part in text.split(b"\n") for line in self._one(part)]

    def _one(self, text: bytes) -> list[T]:
        try:
            return [decode_with(self._decoder, text)]
        except DecodeError:
            return []
