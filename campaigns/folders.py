"""The folder of a campaign: a new one, or that of an interrupted campaign."""

import contextlib
import itertools
import time
from pathlib import Path
from typing import TypeVar

from base.errors import UserError
from record.campaign import NAME
from record.folder import RecordError, read_json

T = TypeVar("T")


def make_root(wanted: Path | None, kind: str) -> Path:
    """Return the folder `wanted`; None: a new `runs/<UTC time>-<kind>`.

    Raises:
        OSError: it cannot be made.
    """
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
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
        UserError: the folder holds another campaign.
        OSError: it cannot be made.
    """
    if wanted is not None and (wanted / NAME).exists():
        raise UserError(f"run.dir={wanted} holds another campaign; name another folder")
    return make_root(wanted, kind)


def interrupted(root: Path, name: str, kind: type[T]) -> T | None:
    """Return the record of the campaign that was begun in `root`; None: there is none.

    Args:
        root: folder of the campaign.
        name: of the record in it.
        kind: of the record.

    Raises:
        UserError: the record is damaged.
    """
    if not (root / name).exists():
        return None
    try:
        return read_json(root / name, kind)
    except RecordError as error:
        raise UserError(f"run.dir={root}: {error}; name another folder") from error
