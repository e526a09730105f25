"""`python -m submission`: runs, tree and checks of an MLPerf submission."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from conf.errors import UserError
from record.errors import RecordError
from submission.execute import ABORTED, BAD_INPUT, RunFailed
from submission.make import make_all, show_plan
from submission.request import read_request

_GOOD = 0


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    console = Console(soft_wrap=True, highlight=False)
    try:
        return int(options.act(options, console))
    except (UserError, RecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except RunFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ABORTED


def _run(options: argparse.Namespace, console: Console) -> int:
    request = read_request(options.request)
    if options.dry_run:
        show_plan(request, console)
    else:
        make_all(request, console)
    return _GOOD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m submission", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="make the runs that are still to be made")
    run.add_argument("--dry-run", action="store_true", help="list them instead")
    run.set_defaults(act=_run)
    for command in (run,):
        command.add_argument("request", type=Path, help="the request's YAML file")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
