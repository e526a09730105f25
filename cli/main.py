"""`mlperf-sut`: one command with a subcommand for everything that users run.

A subcommand hands its arguments on unchanged to the module that `python -m` runs, so
that both behave the same. Modules are imported when their subcommand is called: help
and completion stay quick.
"""

import sys
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from base.command import ArgumentParser, start_module
from base.version import VERSION
from cli.shells import register

NAME = "mlperf-sut"
_EPILOG = """\
Examples:

\b
  mlperf-sut doctor                                  is this host ready?
  mlperf-sut run engine=synthetic                    a run without a model
  mlperf-sut run scenario=server scenario.target_qps=1.2
  mlperf-sut run --dry-run scenario=server           what a run would do
  mlperf-sut campaign scaling replicas=1,2,4         how it scales
  mlperf-sut report runs/latest                      the report again

`mlperf-sut COMMAND --help` lists the options of a command. Shell completion (bash, zsh
or fish): eval "$(_MLPERF_SUT_COMPLETE=bash_source mlperf-sut)"

Exit code: 0 good, 1 finished but not good, 2 bad input, 3 aborted.
"""


class Forwarded(click.Command):
    """A subcommand that hands its arguments on, unread, to a module's `main()`."""

    def __init__(
        self, name: str, module: str, help: str, *, is_run: bool = False
    ) -> None:
        """Forward to `module`.

        Args:
            name: of the subcommand.
            module: has a `main()` that reads `sys.argv` and returns an exit code.
            help: one line.
            is_run: whether it is a process of a run, which handles signals by itself.
        """
        super().__init__(name, help=help, add_help_option=False)
        self.module = module
        self.is_run = is_run

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep all arguments as they are."""
        ctx.args = list(args)
        return []

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Run the module in this process, which ends with it."""
        sys.argv = [ctx.command_path, *ctx.args]
        module = self.module.removesuffix(".__main__").removesuffix(".joining")
        ArgumentParser.called_as = (f"python -m {module}", ctx.command_path)
        if self.is_run:
            from sut.interrupts import start_command

            start_command(self.module)
        start_module(self.module)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  (click's signature)
        incomplete: str,
    ) -> list[CompletionItem]:
        """Complete options of a run; for all else the shell completes file names."""
        if self.module != "sut.main" and not self.module.startswith("campaigns."):
            return [CompletionItem(incomplete, type="file")]
        from cli.complete import completions

        return [CompletionItem(text) for text in completions(incomplete)]


class _Run(Forwarded):
    """`run`, with `--dry-run` beside what `sut.main` takes."""

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Make the run, or describe it."""
        if "--dry-run" in ctx.args and not {"-h", "--help"} & set(ctx.args):
            rest = [text for text in ctx.args if text != "--dry-run"]
            sys.argv = [ctx.command_path, *rest]
            start_module("cli.dry_run")
        super().invoke(ctx)


class _Runs(Forwarded):
    """`runs`, whose `compare` is the one of the report."""

    def invoke(self, ctx: click.Context) -> NoReturn:
        """List the runs, or do what the first argument names."""
        if ctx.args[:1] == ["compare"]:
            self.module = "report.__main__"
        super().invoke(ctx)


class _InOrder(click.Group):
    """Lists its commands in the order of use, not by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order in which they were added."""
        return list(self.commands)


@click.group(
    cls=_InOrder,
    name=NAME,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@click.version_option(VERSION, prog_name="mlperf-loadgen-sut")
def command() -> None:
    """Benchmark summarization with vLLM replicas under MLPerf's LoadGen."""


@click.group(
    cls=_InOrder,
    name="campaign",
    help="Series of runs: scaling, search, sweep, tune, qualify, corun.",
)
def _campaign() -> None:
    pass


_QUALIFY = "Check which replicas and nodes are fit."
_CORUN = "Run several models at once, and each alone."
_RUN = "Run the benchmark once; --dry-run describes it."

for _command in (
    Forwarded(
        "scaling", "campaigns.scaling.__main__", "Throughput by the number of replicas."
    ),
    Forwarded(
        "search", "campaigns.search.__main__", "The highest rate that meets the limits."
    ),
    Forwarded(
        "sweep", "campaigns.sweep.__main__", "A run for each point of a grid or list."
    ),
    Forwarded(
        "tune", "campaigns.tune.__main__", "The best settings, confirmed in pairs."
    ),
    Forwarded("qualify", "campaigns.qualify.__main__", _QUALIFY),
    Forwarded("corun", "campaigns.corun.__main__", _CORUN),
):
    _campaign.add_command(_command)
_COMMANDS: tuple[click.Command, ...] = (
    Forwarded("doctor", "cli.doctor", "Check this host; each problem has a fix."),
    Forwarded("prepare", "qsl.prepare", "Make or check a data set."),
    _Run("run", "sut.main", _RUN, is_run=True),
    Forwarded("watch", "watch.__main__", "Watch a run in a browser or a terminal."),
    Forwarded("report", "report.__main__", "Write the report of runs or a campaign."),
    Forwarded("accuracy", "accuracy.__main__", "Score a run, or compare two."),
    _Runs("runs", "history.__main__", "List, compare, archive and remove runs."),
    Forwarded("export", "history.export.__main__", "A run as Parquet, JUnit, MLflow."),
    Forwarded("qualify", "campaigns.qualify.__main__", _QUALIFY),
    _campaign,
    Forwarded("corun", "campaigns.corun.__main__", _CORUN),
    Forwarded("forecast", "forecast.__main__", "Predict other rates and settings."),
    Forwarded("keys", "sut.keys", "Make the key that the nodes of a cluster share."),
    Forwarded("node", "sut.node.joining", "Let this host join runs.", is_run=True),
    Forwarded("calibration", "calibration.__main__", "Make an fp8 checkpoint."),
    Forwarded("bundle", "offline_bundle.__main__", "Pack for a host without network."),
    Forwarded("submission", "submission.__main__", "Make and check a submission."),
)
for _each in _COMMANDS:
    command.add_command(_each)


def main() -> NoReturn:
    """Run the command line; the process ends with the exit code."""
    register()
    try:
        code = command.main(prog_name=NAME, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = 2
    except click.ClickException as error:
        print(f"error: {error.format_message()}; see {NAME} --help", file=sys.stderr)
        code = 2
    except click.Abort:
        code = 3
    sys.exit(code)
