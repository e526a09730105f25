"""The key that a coordinator and its nodes share; `mlperf-sut keys FILE` makes one.

A process with the file can run any code on every node that uses the same key, and can
answer for a node: keep the file where only this user may read it, and make another key
for another cluster.
"""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("sut.keys")

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.errors import ExitCode, UserError, write_failure
from sut.wire.keys import make_key


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return run_command(lambda: _make(_parser().parse_args(arguments).file))


def _make(path: Path) -> int:
    try:
        make_key(path)
    except FileExistsError as error:
        raise UserError(
            f"{path}: {error.strerror}; a key is never written over: name another file"
        ) from error
    except OSError as error:
        raise write_failure(path, error) from error
    print(f"{path}: copy it to every node, and keep it secret")
    return ExitCode.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m sut.keys",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="file to make")
    return parser
