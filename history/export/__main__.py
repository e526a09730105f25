"""`mlperf-sut export RUN`: a run in the formats of other tools.

--parquet DIR   DIR/samples.parquet and DIR/steps.parquet
--junit FILE    the checks of the run as JUnit XML
--mlflow URI    a run of MLflow, e.g. file:///data/mlruns (docs/watch.md)
"""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("history.export.__main__")

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.errors import ExitCode, UserError, write_failure
from record.find import is_run
from record.folder import RunFolder


def main(arguments: Sequence[str] | None = None) -> int:
    """Export the run; return the exit code."""
    return run_command(lambda: _command(arguments))


def _command(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    if not is_run(options.run):
        raise UserError(f"{options.run}: not a run folder; name one, e.g. runs/latest")
    if not (options.parquet or options.junit or options.mlflow):
        raise UserError("export needs --parquet DIR, --junit FILE or --mlflow URI")
    folder = RunFolder(options.run.resolve())
    # Each format is imported only where it is asked for: some take a second.
    try:
        if options.parquet is not None:
            from history.export.parquet import write_parquet

            for path in write_parquet(folder, options.parquet):
                print(path)
        if options.junit is not None:
            from history.export.junit import write_junit

            write_junit(folder, options.junit)
            print(options.junit)
    except OSError as error:
        where = error.filename or options.parquet or options.junit
        raise write_failure(where, error, "name another target") from error
    if options.mlflow is not None:
        from history.export.mlflow import log_run

        print(f"MLflow run {log_run(folder, options.mlflow)}")
    return ExitCode.GOOD


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m history.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--parquet", type=Path, metavar="DIR", help="folder to write")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="file to write")
    parser.add_argument("--mlflow", metavar="URI", help="tracking address of MLflow")
    return parser
