"""Keeps decoded data sets as memory-mapped Arrow files.

Decoding a full cnn_eval.json takes seconds; mapping an Arrow file takes no time.
"""

import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from base.files import cache_folder

_FORM = b"3"
_SHA256 = b"sha256"
_SCHEMA = pa.schema(
    [
        ("tok_input", pa.large_list(pa.int32())),
        ("output", pa.large_string()),
        ("output_tokens", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a data set."""

    tokens: NDArray[np.int32]
    """All prompts, concatenated, shape (total tokens,)."""
    offsets: NDArray[np.int64]
    """Prompt i is tokens[offsets[i]:offsets[i + 1]]; shape (samples + 1,)."""
    references: list[str]
    output_tokens: NDArray[np.int32]
    """Tokens that each answer must have, shape (samples,); 0: not prescribed."""
    sha256: str
    """SHA-256 of the file that they were read from."""


@dataclass(frozen=True, slots=True)
class Place:
    """The cache entry for one state of a data set file.

    The name of a cached file ends in its CRC-32, so that damage is detected before the
    file is used.
    """

    folder: Path
    file: str
    """Digest of the path of the data set file."""
    state: str
    """Digest of its size and times."""

    def load(self) -> Columns | None:
        """Return the cached columns; None if there are none, or they are damaged."""
        for path in self.folder.glob(f"{self.file}-{self.state}-*.arrow"):
            try:
                with pa.memory_map(str(path)) as file:
                    if _named(path) == f"{zlib.crc32(file.read_buffer()):08x}":
                        file.seek(0)
                        return _from_table(pa.ipc.open_file(file).read_all())
            except (OSError, pa.ArrowException):
                continue
        return None

    def keep(self, columns: Columns) -> None:
        """Cache these columns, and remove older ones of the same file.

        Raises:
            OSError: the user's cache cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{self.file}.{os.getpid()}"
        try:
            _write(draft, columns)
            checksum = zlib.crc32(draft.read_bytes())
            name = f"{self.file}-{self.state}-{checksum:08x}.arrow"
            path = draft.replace(self.folder / name)
        finally:
            draft.unlink(missing_ok=True)
        for other in self.folder.glob(f"{self.file}-*.arrow"):
            if other != path:
                other.unlink(missing_ok=True)


def place_of(source: Path) -> Place:
    """Return the cache entry for the current state of the file `source`.

    Raises:
        OSError: there is no such file.
    """
    found = source.stat()
    # Every write updates the change time, even one that restores the other two.
    state = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return Place(cache_folder() / "datasets", _digest(source.resolve()), _digest(state))


def _digest(part: object) -> str:
    return hashlib.sha256(repr(part).encode() + _FORM).hexdigest()[:16]


def _named(path: Path) -> str:
    """Return the checksum in the name of a cached file."""
    return path.stem.rpartition("-")[2]


def _write(path: Path, columns: Columns) -> None:
    prompts = pa.LargeListArray.from_arrays(
        pa.array(columns.offsets, pa.int64()), pa.array(columns.tokens, pa.int32())
    )
    references = pa.array(columns.references, pa.large_string())
    lengths = pa.array(columns.output_tokens, pa.int32())
    batch = pa.record_batch([prompts, references, lengths], schema=_SCHEMA)
    schema = _SCHEMA.with_metadata({_SHA256: columns.sha256})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as out:
        out.write_batch(batch)


def _from_table(table: pa.Table) -> Columns:
    # One batch is written, so each column is one chunk and needs no copy.
    prompts = table.column("tok_input").chunk(0)
    return Columns(
        tokens=prompts.values.to_numpy(zero_copy_only=True),
        offsets=prompts.offsets.to_numpy(zero_copy_only=True),
        references=table.column("output").to_pylist(),
        output_tokens=table.column("output_tokens").chunk(0).to_numpy(),
        sha256=(table.schema.metadata or {}).get(_SHA256, b"").decode(),
    )
