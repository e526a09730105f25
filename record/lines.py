"""Reads the JSON-lines files of a run folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from record.errors import RecordError

T = TypeVar("T")


def read_lines(path: Path, kind: type[T] | Any) -> Iterator[T]:
    """Yield each line of `path` decoded as `kind`.

    A last line without its newline was cut off when the run died: it is left out.

    Raises:
        RecordError: the file is missing, or another line does not fit `kind`.
    """
    decoder = msgspec.json.Decoder(kind)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise RecordError(path, str(error), number) from error
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error
