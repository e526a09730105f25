"""A run of `python -m sut.main` in a process of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path

from base.child import Children, Ended, module_command, module_environment


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
    command = module_command("sut.main", *arguments)
    watch = {} if hopeless is None else {"hopeless": hopeless}
    ended = children.run(command, module_environment(), **watch)
    children.check()
    return ended
