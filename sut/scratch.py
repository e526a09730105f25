"""A folder for the sockets and temporary files of a run."""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from types import TracebackType
from typing import Self

_PREFIX = "mlperf-sut-"
_LOCK = ".lock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Scratch:
    """A private folder, which is removed when the block ends.

    Its owner holds a lock on a file in it. The folder of another process is removed
    only by who gets that lock: a process number proves nothing, since containers and
    hosts that share the temporary folder count their processes apart.
    """

    def __init__(self) -> None:
        """Make the folder, and remove those of coordinators that were killed.

        Raises:
            OSError: the temporary folder cannot be written.
        """
        _sweep(Path(gettempdir()))
        self.path = Path(mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._lock = _lock_new(self.path)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the folder with its contents."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock_new(folder: Path) -> int | None:
    """Return the descriptor that locks `folder`; None if its file system has no locks.

    A folder without a lock file is never taken for abandoned.
    """
    draft = folder / f"{_LOCK}.draft"
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, _boot_id())
        # Nobody may see the file before it is locked.
        draft.rename(folder / _LOCK)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*-*"):
        with contextlib.suppress(OSError):
            # No symbolic link, and no pipe that nobody writes to: others may put
            # anything into a temporary folder.
            descriptor = os.open(
                folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
            )
            try:
                _remove_abandoned(folder, descriptor)
            finally:
                os.close(descriptor)


def _remove_abandoned(folder: Path, descriptor: int) -> None:
    """Remove `folder` if its owner, a process of this host, has ended.

    Raises:
        OSError: it has not, or that cannot be known.
    """
    boot_id = _boot_id()
    # Some shared file systems keep locks from the other hosts.
    if boot_id and os.read(descriptor, len(boot_id) + 1) == boot_id:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def _boot_id() -> bytes:
    """Return an identity of this host since its start; empty if it has none."""
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_bytes().strip()
    return b""
