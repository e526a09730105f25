"""Makes runs, each in a process of its own: LoadGen is good for one per process."""

import os
import subprocess
import sys
from pathlib import Path

from base.errors import UserError
from record.folder import RunFolder
from record.source import ROOT

NOT_GOOD, BAD_INPUT, ABORTED = 1, 2, 3


class RunFailed(Exception):
    """A run ended without a result that can be used; the message says which."""

    def __init__(self, message: str, exit_code: int) -> None:
        """Take the message and the exit code that `python -m submission` ends with."""
        super().__init__(message)
        self.exit_code = exit_code


def make_run(title: str, options: list[str], runs: Path) -> RunFolder:
    """Make one run and return its folder; it shows its own progress.

    Args:
        title: what it is called in messages.
        options: options of `sut.main`.
        runs: folder of run folders.

    Raises:
        UserError: `sut.main` refused the options.
        RunFailed: the run was aborted.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    code = subprocess.call(
        [sys.executable, "-m", "sut.main", *options, f"run.dir={runs}"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    if code == BAD_INPUT:
        raise UserError(f"{title}: the line above says what is wrong with its options")
    if code not in (0, 1):
        raise RunFailed(
            f"{title}: aborted (exit {code}); what was made is kept, and the same"
            " command goes on with this run",
            ABORTED,
        )
    return RunFolder((runs / "latest").resolve())
