"""A run of `python -m sut.main` in a process of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path

from base.child import Children, Ended, module_command, module_environment
from base.log import is_quiet


def run_command_line(arguments: Sequence[str]) -> list[str]:
    """Return the command of a run; it is as quiet as this process."""
    return module_command("sut.main", *arguments, *(["--quiet"] if is_quiet() else []))


def run_child(
    children: Children,
    arguments: Sequence[str],
    hopeless: Callable[[Path], bool] | None = None,
) -> Ended:
    """Make one run to its end; return how it ended.

    Args:
        children: of the campaign.
        arguments: of the run.
        hopeless: whether the run in a folder is to be stopped early.

    Raises:
        Aborted: a signal came.
    """
    command = run_command_line(arguments)
    watch = {} if hopeless is None else {"hopeless": hopeless}
    ended = children.run(command, module_environment(), **watch)
    children.check()
    return ended
