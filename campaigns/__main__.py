"""`python -m campaigns`: lists the campaigns."""

import sys

from base.errors import ExitCode

_TEXT = """\
Campaigns are series of runs, each a process of its own:
  python -m campaigns.scaling replicas=1,2,4 ...   how throughput grows with replicas;
                                                   Server: the highest sustained rate
Each prints its options with --help."""


def main(arguments: list[str]) -> int:
    """Print the commands; return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_TEXT)
        return ExitCode.GOOD
    print(
        f"error: {arguments[0]}: python -m campaigns takes no options; write"
        " python -m campaigns.scaling ...",
        file=sys.stderr,
    )
    return ExitCode.BAD_INPUT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
