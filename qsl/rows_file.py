"""Writes a data set file row by row; an interrupted call can be resumed."""

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from base.decode import DecodeError, decode_json
from qsl.official import FullRow
from qsl.progress import announce

_OPEN, _BETWEEN, _CLOSE = b"[\n", b",\n", b"\n]"
_INDENT = 4
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems of clusters answer that lock nothing (Lustre, NFS, FUSE)."""
_ROW_END = b"\n    },\n"


class RowsFile:
    """A JSON list of objects that grows in a draft until it is whole.

    The draft lies beside the target and bears a fingerprint of what it is made from:
    another input does not go on with it.
    """

    def __init__(self, target: Path, fingerprint: str) -> None:
        """Go on with an earlier draft where there is one.

        Raises:
            OSError: the draft cannot be read or written, or another call does so.
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
                f"note: the file system of {target} has no locks; let no other call"
                " write it meanwhile"
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
            OSError: the draft cannot be written, e.g. as the disk is full.
        """
        text = msgspec.json.format(msgspec.json.encode(rows), indent=_INDENT)
        self._file.write(text[len(_OPEN) : -len(_CLOSE)] + _BETWEEN)
        self._file.flush()

    def finish(self) -> None:
        """Close the list and move the draft to its place.

        Raises:
            OSError: the target cannot be written.
        """
        self._file.seek(-len(_BETWEEN), os.SEEK_END)
        self._file.truncate()
        self._file.write(_CLOSE)
        self.close()
        self._draft.replace(self._target)

    def close(self) -> None:
        """Leave the draft as it is."""
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
