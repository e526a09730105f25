"""`mlperf-sut submission`: runs, tree and checks of an MLPerf submission."""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("submission.__main__")

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from base.errors import ExitCode
from submission.build import build_tree
from submission.check import check_submission
from submission.machine import describe_machine
from submission.make import make_all, show_plan
from submission.official import Checkout
from submission.request import read_request


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return run_command(lambda: _act(arguments))


def _act(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    return int(options.act(options, Console(soft_wrap=True, highlight=False)))


def _run(options: argparse.Namespace, console: Console) -> int:
    request = read_request(options.request)
    if options.dry_run:
        show_plan(request, console)
    else:
        make_all(request, console)
    return ExitCode.GOOD


def _build(options: argparse.Namespace, console: Console) -> int:
    tree = build_tree(read_request(options.request))
    console.print(f"tree: {tree}", markup=False)
    return ExitCode.GOOD


def _check(options: argparse.Namespace, console: Console) -> int:
    request = read_request(options.request)
    checkout = None
    if options.mlperf_inference:
        checkout = Checkout(
            options.mlperf_inference.resolve(), options.evaluation_python
        )
    good = check_submission(request, checkout, console)
    return ExitCode.GOOD if good else ExitCode.NOT_GOOD


def _describe(_options: argparse.Namespace, console: Console) -> int:
    console.out(msgspec.json.format(msgspec.json.encode(describe_machine())).decode())
    return ExitCode.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python -m submission", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="make the runs that are missing")
    run.add_argument("--dry-run", action="store_true", help="list them instead")
    run.set_defaults(act=_run)
    build = commands.add_parser("build", help="build the folder tree from the runs")
    build.set_defaults(act=_build)
    describe = commands.add_parser(
        "describe",
        help="print this node's hardware and software, for `machines:` in a request",
    )
    describe.set_defaults(act=_describe)
    check = commands.add_parser("check", help="check the tree before it is uploaded")
    check.add_argument(
        "--mlperf-inference",
        type=Path,
        metavar="DIR",
        help="checkout of mlcommons/inference: also run its official tools",
    )
    check.add_argument(
        "--evaluation-python",
        default=sys.executable,
        metavar="PYTHON",
        help="interpreter with the packages of the official evaluation",
    )
    check.set_defaults(act=_check)
    for command in (run, build, check):
        command.add_argument("request", type=Path, help="the request's YAML file")
    return parser
