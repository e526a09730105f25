"""`python -m cli`: the same as `mlperf-sut`."""

from typing import NoReturn

from base.command import start_module


def main() -> NoReturn:
    """Run the command line; the process ends with the exit code."""
    start_module("cli.main")


if __name__ == "__main__":
    main()
