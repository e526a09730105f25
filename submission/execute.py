"""Makes runs, each in a process of its own: LoadGen can make one per process."""

from pathlib import Path

from base.child import Children
from base.errors import Aborted, ExitCode, UserError
from base.python import module_command, module_environment
from record.folder import RunFolder


def make_run(
    children: Children, title: str, options: list[str], runs: Path
) -> RunFolder:
    """Make one run and return its folder; it shows its own progress.

    Args:
        children: runs it, and hands signals on to it.
        title: what it is called in messages.
        options: options of `sut.main`.
        runs: folder of run folders.

    Raises:
        UserError: `sut.main` refused the options.
        Aborted: the run was aborted or interrupted.
    """
    ended = children.run(
        module_command("sut.main", *options, f"run.dir={runs}"), module_environment()
    )
    resume = "what was made is kept, and the same command resumes with this run"
    if children.interrupted is not None:
        raise Aborted(f"{title}: interrupted by {children.interrupted.name}; {resume}")
    if ended.code == ExitCode.BAD_INPUT:
        raise UserError(f"{title}: the line above says what is wrong with its options")
    if ended.code not in (ExitCode.GOOD, ExitCode.NOT_GOOD):
        raise Aborted(f"{title}: aborted (exit {ended.code}); {resume}")
    if ended.folder is None:
        raise Aborted(f"{title}: exit {ended.code}, but it named no run folder")
    return RunFolder(ended.folder)
