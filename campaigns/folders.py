"""The folder of a campaign: a new one, or that of an interrupted campaign."""

import contextlib
import errno
import itertools
import tempfile
import time
from pathlib import Path
from typing import Protocol, TypeVar

from base.errors import UserError
from record.campaign import NAME
from record.folder import RecordError, read_json


class Record(Protocol):
    """What a campaign writes, to be resumed."""

    def problem(self) -> str:
        """Return which parts do not fit each other; empty: all do."""


T = TypeVar("T", bound=Record)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def make_root(wanted: Path | None, kind: str) -> Path:
    """Return the folder `wanted`, made if needed; None: a new `runs/<UTC time>-<kind>`.

    Raises:
        UserError: it is a file, its name is not possible, or it cannot be written to.
        OSError: the disk is full.
    """
    if wanted is not None:
        try:
            wanted.mkdir(parents=True, exist_ok=True)
            _try_writing(wanted)
        except OSError as error:
            if error.errno in _FULL:
                raise
            raise UserError(
                f"run.dir={wanted}: {error.strerror or error}; name another folder"
            ) from error
        return wanted
    stamp = time.strftime(f"%Y%m%dT%H%M%SZ-{kind}", time.gmtime())
    Path("runs").mkdir(exist_ok=True)
    for attempt in itertools.count():
        root = Path("runs") / (stamp + (f"-{attempt}" if attempt else ""))
        with contextlib.suppress(FileExistsError):
            root.mkdir()
            return root
    raise AssertionError("unreachable")


def new_root(wanted: Path | None, kind: str) -> Path:
    """Return a folder that no other campaign has.

    Raises:
        UserError: the folder holds another campaign, or cannot be used.
        OSError: the disk is full.
    """
    root = make_root(wanted, kind)
    if (root / NAME).exists():
        raise UserError(f"run.dir={root} holds another campaign; name another folder")
    return root


def interrupted(root: Path, name: str, kind: type[T]) -> T | None:
    """Return the record of the campaign that was begun in `root`; None: there is none.

    Args:
        root: folder of the campaign.
        name: of the record in it.
        kind: of the record.

    Raises:
        UserError: the record is damaged, or its parts do not fit each other.
    """
    if not (root / name).exists():
        return None
    try:
        found = read_json(root / name, kind)
        problem = found.problem()
    except RecordError as error:
        raise UserError(f"run.dir={root}: {error}; name another folder") from error
    if problem:
        raise UserError(
            f"run.dir={root}: {root / name}: {problem}; name another folder"
        )
    return found


def check_target(option: str, path: Path) -> None:
    """Check that a campaign can write the file `path` when it ends, hours later.

    Raises:
        UserError: it is a folder, or its folder is missing or cannot be written to.
        OSError: the disk is full.
    """
    try:
        if path.is_dir():
            raise UserError(f"{option} {path}: a folder; name a file")
        if not path.parent.is_dir():
            raise UserError(f"{option} {path}: there is no folder {path.parent}")
        if path.exists():
            path.read_bytes()
        _try_writing(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise UserError(
            f"{option} {path}: {error.strerror or error}; name another file"
        ) from error


def _try_writing(folder: Path) -> None:
    # Permissions alone do not show it: a file system may be read-only.
    with tempfile.TemporaryFile(dir=folder):
        pass
