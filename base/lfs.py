"""Recognizes Git LFS pointers, which stand where a large file was not downloaded."""

from pathlib import Path

from base.errors import UserError

_POINTER = b"version https://git-lfs"


def refuse_lfs_pointer(path: Path, data: bytes) -> None:
    """Refuse the file `path`, which begins with `data`, where it is a pointer.

    Raises:
        UserError: it is one; says how to get the file.
    """
    if data.startswith(_POINTER):
        raise UserError(
            f"{path}: a Git LFS pointer, not the file itself; run `git lfs pull` in"
            " its repository, or download the file again"
        )
