"""`python -m campaigns`: lists the campaigns."""

from base.command import run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("campaigns.__main__")

import sys
from collections.abc import Sequence

from base.errors import ExitCode, UserError

_TEXT = """\
Campaigns are series of runs. Each run is a process:
  mlperf-sut campaign scaling replicas=1,2,4 ...    how throughput grows with replicas;
                                                    Server: the highest sustained rate
  mlperf-sut campaign search scenario=server ...    the highest rate that meets the
                                                    latency limits, in three runs
  mlperf-sut campaign sweep OPTION=A,B,C ...        a run for each point of a grid
  mlperf-sut campaign tune OPTION=A,B,C ...         the best settings, confirmed in
                                                    pairs of runs
  mlperf-sut qualify ...                            which replicas and nodes are fit
  mlperf-sut corun NAME: ... NAME: ...              several models at once, each alone
                                                    and together
Each prints its options with --help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the commands; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(lambda: _list(given))


def _list(arguments: list[str]) -> int:
    if arguments and arguments[0] not in ("-h", "--help"):
        raise UserError(
            f"{arguments[0]}: python -m campaigns takes no options; write"
            " mlperf-sut campaign scaling ..."
        )
    print(_TEXT)
    return ExitCode.GOOD
