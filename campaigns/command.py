"""The form of every campaign's command line: help, flags, exit code."""

import sys
from collections.abc import Callable, Sequence

from base.command import run_command
from base.errors import ExitCode
from campaigns.output import Output, output_flags


def campaign_command(
    help_text: str | None,
    command: Callable[[Output, Sequence[str]], int],
    arguments: Sequence[str] | None,
    *,
    bare: bool = True,
) -> int:
    """Run the command line of a campaign; return the exit code.

    Args:
        help_text: what `--help` prints.
        command: makes the campaign, from how to print and the other arguments.
        arguments: of the command line; None: those of this process.
        bare: whether the command means something without arguments.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)

    def body() -> int:
        if "--help" in given or "-h" in given:
            print(help_text)
            return ExitCode.GOOD
        if not given and not bare:
            print(help_text)
            return ExitCode.BAD_INPUT
        return command(*output_flags(given))

    return run_command(body)
