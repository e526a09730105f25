"""Checks the files of a checkpoint, as far as headers show."""

from pathlib import Path
from typing import TypeVar

import msgspec

from base.decode import DecodeError, decode_json
from base.errors import UserError
from base.files import refuse_lfs_pointer

_INDEX = "model.safetensors.index.json"
_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000
"""The format's own limit, in bytes."""
DOWNLOAD_AGAIN = "download it again"
T = TypeVar("T")


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


class _Tensor(msgspec.Struct):
    data_offsets: tuple[int, int]
    """First byte and end of the tensor, counted from the end of the header."""


def check_checkpoint(folder: Path) -> None:
    """Check the weights and the tokenizer in `folder`, as far as headers show.

    Raises:
        UserError: a file is missing, cut off or something else; names it.
    """
    for path in _weight_files(folder):
        _check_weights(path)
    tokenizer = folder / "tokenizer.json"
    if tokenizer.exists():
        read_json_file(tokenizer, dict[str, msgspec.Raw])


def read_json_file(path: Path, kind: type[T]) -> T:
    """Return the JSON file `path` as a `kind`.

    Raises:
        UserError: it is missing, damaged, or a Git LFS pointer.
    """
    try:
        data = path.read_bytes()
        refuse_lfs_pointer(path, data)
        return decode_json(data, kind)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; is this a model folder?") from error
    except DecodeError as error:
        raise UserError(f"{path}: {error}; {DOWNLOAD_AGAIN}") from error


def _weight_files(folder: Path) -> list[Path]:
    index = folder / _INDEX
    if not index.exists():
        return sorted(folder.glob("*.safetensors"))
    names = sorted(set(read_json_file(index, _Index).weight_map.values()))
    for name in names:
        if not (folder / name).exists():
            raise UserError(
                f"{folder / name}: missing, but {_INDEX} names it; {DOWNLOAD_AGAIN}"
            )
    return [folder / name for name in names]


def _check_weights(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH_BYTES)
            refuse_lfs_pointer(path, start + file.read(_LENGTH_BYTES * 4))
            length = int.from_bytes(start, "little")
            if size < _LENGTH_BYTES or length > min(size, _LARGEST_HEADER):
                raise UserError(
                    f"{path}: {size} bytes: truncated, or not a safetensors file;"
                    f" {DOWNLOAD_AGAIN}"
                )
            file.seek(_LENGTH_BYTES)
            header = file.read(length)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    try:
        parts = decode_json(header, dict[str, msgspec.Raw])
        parts.pop("__metadata__", None)
        ends = [decode_json(bytes(p), _Tensor).data_offsets[1] for p in parts.values()]
    except DecodeError as error:
        raise UserError(f"{path}: damaged header: {error}; {DOWNLOAD_AGAIN}") from error
    needed = _LENGTH_BYTES + length + max(ends, default=0)
    if size < needed:
        raise UserError(
            f"{path}: cut off: {size} bytes, its header asks for {needed};"
            f" {DOWNLOAD_AGAIN}"
        )
