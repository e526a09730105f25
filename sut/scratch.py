"""A folder for what lives only as long as a run: sockets and temporary files."""

import os
import shutil
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from types import TracebackType
from typing import Self

_PREFIX = "mlperf-sut-"


class Scratch:
    """A folder that only this user may enter; gone when the block is left."""

    def __init__(self) -> None:
        """Make the folder, and remove those of coordinators that were killed.

        Raises:
            OSError: the temporary folder cannot be written.
        """
        _sweep()
        self.path = Path(mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def _sweep() -> None:
    for folder in Path(gettempdir()).glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
