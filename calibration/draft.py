"""A folder that appears whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from base.errors import Aborted, UserError


def check_new(out: Path) -> None:
    """Refuse a folder that exists, or that could not be made.

    Raises:
        UserError: see above.
    """
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: exists; name a new folder")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder; make it first")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a draft beside `out`, and move it there if all went well.

    Whatever interrupts the work, SIGKILL aside, the draft does not stay.

    Raises:
        Aborted: something could not be written, e.g. as the disk is full.
        UserError: `out` has come into being meanwhile.
    """
    draft = out.with_name(f".{out.name}.{os.getpid()}.draft")
    try:
        draft.mkdir()
        yield draft
        check_new(out)
        draft.rename(out)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise Aborted(f"{out}: cannot be written: {reason}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
