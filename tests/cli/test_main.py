"""The command line itself; that subcommands work is for the wheel's test."""

import importlib
import signal
import sys
import types

import click
import pytest
from click.testing import CliRunner

from base.command import ArgumentParser
from base.errors import ExitCode
from base.version import VERSION
from cli.main import Forwarded, command, main


def _forwarded(group: click.Group) -> list[Forwarded]:
    found: list[Forwarded] = []
    for item in group.commands.values():
        if isinstance(item, click.Group):
            found += _forwarded(item)
        else:
            assert isinstance(item, Forwarded)
            found.append(item)
    return found


def test_every_subcommand_has_a_module_to_run() -> None:
    found = _forwarded(command)
    assert {"run", "report", "doctor", "scaling"} <= {item.name for item in found}
    for item in found:
        assert callable(importlib.import_module(item.module).main)


def test_help_names_the_commands_and_examples() -> None:
    shown = CliRunner().invoke(command, ["--help"])
    assert shown.exit_code == 0
    assert "mlperf-sut run engine=synthetic" in shown.output
    assert VERSION in CliRunner().invoke(command, ["--version"]).output


def test_arguments_reach_the_module_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    module = types.ModuleType("target_module")

    def run() -> int:
        seen.append(sys.argv[1:])
        return 1

    module.main = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "target_module", module)
    monkeypatch.setattr("base.command.start", lambda run: sys.exit(run()))
    monkeypatch.setattr(ArgumentParser, "called_as", None)
    monkeypatch.setattr(sys, "argv", ["before"])
    given = ["--help", "a.b='x y'", "--", "-q", "--json=[1, 2]"]
    context = click.Context(click.Command("mlperf-sut"), info_name="mlperf-sut")
    item = Forwarded("try", "target_module", "")
    with pytest.raises(SystemExit) as ended:
        item.main(given, prog_name="try", parent=context)
    assert ended.value.code == 1
    assert seen == [given]
    named = ArgumentParser(prog="python -m target_module sub").prog
    assert named == "mlperf-sut try sub"


def test_a_package_that_is_missing_ends_as_a_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(ArgumentParser, "called_as", None)
    monkeypatch.setattr(sys, "argv", ["before"])
    context = click.Context(click.Command("mlperf-sut"), info_name="mlperf-sut")
    with pytest.raises(SystemExit) as ended:
        Forwarded("try", "module_that_is_missing", "").main([], parent=context)
    assert ended.value.code == ExitCode.ABORTED
    assert "No module named 'module_that_is_missing'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["nope"], 2, "error: No such command 'nope'"),
        (["--nope"], 2, "error: No such option"),
        ([], 2, "Usage: mlperf-sut"),
        (["campaign", "nope"], 2, "error: No such command 'nope'"),
    ],
)
def test_a_wrong_command_is_bad_input(
    arguments: list[str],
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["mlperf-sut", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert capsys.readouterr().err.startswith(line)
