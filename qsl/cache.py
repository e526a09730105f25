"""Keeps decoded data sets as memory-mapped Arrow files.

Decoding a full cnn_eval.json takes seconds; mapping its tokens takes none.
"""

import contextlib
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from conf.cache import cache_folder

_FORM = b"1"
_SCHEMA = pa.schema(
    [("tok_input", pa.large_list(pa.int32())), ("output", pa.large_string())]
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a data set."""

    tokens: NDArray[np.int32]
    """All prompts end to end, shape (total tokens,)."""
    offsets: NDArray[np.int64]
    """Prompt i is tokens[offsets[i]:offsets[i + 1]]; shape (samples + 1,)."""
    references: list[str]


def kept_columns(source: Path) -> Columns | None:
    """Return the kept columns of the file `source`; None where there are none.

    A kept file that is damaged counts as none.
    """
    try:
        with pa.memory_map(str(_place(source))) as file:
            table = pa.ipc.open_file(file).read_all()
            metadata = table.schema.metadata or {}
            columns = _from_table(table)
    except (OSError, pa.ArrowException, IndexError, UnicodeDecodeError):
        return None
    return columns if metadata.get(b"crc32") == _checksum(columns) else None


def keep_columns(source: Path, columns: Columns) -> None:
    """Keep the columns of the file `source`.

    Raises:
        OSError: the user's cache cannot be written.
    """
    path = _place(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    prompts = pa.LargeListArray.from_arrays(
        pa.array(columns.offsets, pa.int64()), pa.array(columns.tokens, pa.int32())
    )
    references = pa.array(columns.references, pa.large_string())
    schema = _SCHEMA.with_metadata({"crc32": _checksum(columns)})
    batch = pa.record_batch([prompts, references], schema=schema)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with pa.OSFile(str(draft), "wb") as file, pa.ipc.new_file(file, schema) as out:
            out.write_batch(batch)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    for other in path.parent.glob(f"{path.name.partition('-')[0]}-*.arrow"):
        if other != path:
            other.unlink(missing_ok=True)


def _place(source: Path) -> Path:
    """Return where the columns of `source` are kept, by its path and state."""
    state = source.stat()
    # The change time moves with every write, also one that restores the other two.
    parts = (source.resolve(), (state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    name, version = (
        hashlib.sha256(repr(part).encode() + _FORM).hexdigest()[:16] for part in parts
    )
    return cache_folder() / "datasets" / f"{name}-{version}.arrow"


def _from_table(table: pa.Table) -> Columns:
    # One batch is written, so each column is one chunk and needs no copy.
    prompts = table.column("tok_input").chunk(0)
    return Columns(
        tokens=prompts.values.to_numpy(zero_copy_only=True),
        offsets=prompts.offsets.to_numpy(zero_copy_only=True),
        references=table.column("output").to_pylist(),
    )


def _checksum(columns: Columns) -> bytes:
    checksum = zlib.crc32(np.ascontiguousarray(columns.tokens).data)
    checksum = zlib.crc32(np.ascontiguousarray(columns.offsets).data, checksum)
    return str(zlib.crc32("\0".join(columns.references).encode(), checksum)).encode()
