"""Every command ends by the same table: 0 good, 1 not good, 2 bad input, 3 aborted."""

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import accuracy.__main__
import calibration.__main__
import campaigns.scaling.__main__
import forecast.__main__
import offline_bundle.__main__
import qsl.prepare
import report.__main__
import submission.__main__
import sut.keys
import sut.main
import sut.node.joining
from base.command import ArgumentParser, run_command, start
from base.errors import Aborted, ExitCode, NotGood, UserError
from tests.accuracy.made_up import ids, scorable_run
from tests.run_folder import good_spec, write_folder

TEXTS = ["the cat sat on the mat .", "the dog ran far ."]


@dataclass(frozen=True)
class Command:
    """A command, and where its work begins."""

    module: ModuleType
    arguments: tuple[str, ...]
    """Of a call that would begin to work."""
    work: str
    """Function of the module that is called first, and stands for all the work."""

    def __str__(self) -> str:
        return " ".join([self.module.__name__, *self.arguments[:1]])

    def call(self, *arguments: str) -> int:
        main: Callable[[Sequence[str]], int] = self.module.main
        return main(list(arguments))


COMMANDS = [
    Command(report.__main__, ("run",), "read_run"),
    Command(accuracy.__main__, ("run",), "score_again"),
    Command(accuracy.__main__, ("compare", "one", "other"), "compare_runs"),
    Command(forecast.__main__, ("run",), "read_evidence"),
    Command(calibration.__main__, ("in", "list", "out"), "check_new"),
    Command(offline_bundle.__main__, ("out",), "choose_lock"),
    Command(qsl.prepare, ("source", "out.json", "tokenizer"), "load_prompting"),
    Command(submission.__main__, ("run", "request.yaml"), "read_request"),
    Command(submission.__main__, ("build", "request.yaml"), "read_request"),
    Command(submission.__main__, ("check", "request.yaml"), "read_request"),
    Command(submission.__main__, ("describe",), "describe_machine"),
    Command(sut.main, ("engine=synthetic",), "load_config"),
    Command(sut.node.joining, ("--connect", "head:5555", "--key", "key"), "read_key"),
    Command(sut.keys, ("key",), "_make"),
]
ENDINGS: list[tuple[BaseException, int, str]] = [
    (NotGood("a"), 1, "not good: a\n"),
    (UserError("a\nb"), 2, "error: a b\n"),
    (Aborted("a"), 3, "aborted: a\n"),
    (OSError(errno.ENOSPC, "No space left", "/x/y"), 3, "aborted: /x/y: No space left"),
    (PermissionError(errno.EACCES, "Denied"), 3, "aborted: Denied\n"),
    (MemoryError(), 3, "aborted: out of memory\n"),
    (KeyboardInterrupt(), 3, "aborted: interrupted"),
    (BrokenPipeError(), 3, ""),
]


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what a command does to its process; no name has to resolve."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    interval = sys.getswitchinterval()
    monkeypatch.setattr(sut.node.joining, "_check_resolves", lambda _connect: None)
    yield
    sys.setswitchinterval(interval)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
@pytest.mark.parametrize(
    ("ending", "code", "line"), ENDINGS, ids=lambda value: type(value).__name__
)
def test_every_ending_has_its_code_and_one_line(
    command: Command,
    ending: BaseException,
    code: int,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise ending

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command.module, command.work, fail)
    assert command.call(*command.arguments) == code
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == (1 if line else 0)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_defect_is_not_hidden(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command.module, command.work, fail)
    with pytest.raises(ZeroDivisionError):
        command.call(*command.arguments)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_an_unknown_option_is_bad_input_of_one_line(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.call(*command.arguments, "--no-such-option") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "--no-such-option" in said
    assert "--help" in said.replace("--no-such-option", "")
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_help_is_good(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    code: object
    try:
        code = command.call("--help")
    except SystemExit as left:
        code = left.code
    assert code == 0
    said = capsys.readouterr().out
    assert "usage: mlperf-sut" in said or "usage: python -m" in said


def test_missing_input_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = str(tmp_path / "gone")
    for command, arguments in (
        (COMMANDS[0], [gone]),
        (COMMANDS[1], [gone]),
        (COMMANDS[2], ["compare", gone, gone]),
        (COMMANDS[3], [gone, gone, str(tmp_path / "out")]),
        (COMMANDS[4], [str(tmp_path / "out"), "--with", gone]),
        (COMMANDS[5], [gone, str(tmp_path / "out.json"), gone]),
        (COMMANDS[6], ["run", gone]),
        (COMMANDS[7], ["build", gone]),
        (COMMANDS[8], ["check", gone]),
    ):
        assert command.call(*arguments) == 2, command
        said = capsys.readouterr().err
        assert said.startswith("error: "), command
        assert said.count("\n") == 1, command


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (sut.main, ["engine.options.max_num_seqs={}"]),
        (sut.main, ["run.min_queries={}"]),
        (sut.main, ["engine=synthetic", "cluster.replicas=1", "engine.slowdown.{}=2"]),
        (campaigns.scaling.__main__, ["replicas={}"]),
        (campaigns.scaling.__main__, ["replicas=1", "runs={}"]),
        (campaigns.scaling.__main__, ["replicas=1", "samples={}"]),
        (campaigns.scaling.__main__, ["replicas=1", "seed={}"]),
        (campaigns.scaling.__main__, ["replicas=1", "longest_s={}"]),
        (sut.node.joining, ["--connect", "head:{}", "--key", "key"]),
        (offline_bundle.__main__, ["out", "--part-size", "{}G"]),
        (calibration.__main__, ["in", "list", "out", "--samples", "{}"]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, ModuleType) else value[-1],
)
def test_a_number_of_thousands_of_digits_is_bad_input(
    module: ModuleType,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [text.format("9" * 5000) for text in arguments]
    assert module.main(given) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_a_run_without_an_accuracy_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    assert accuracy.__main__.main([str(folder.path)]) == 2
    assert "mode=performance has no accuracy to score" in capsys.readouterr().err
    assert not (folder / "accuracy.txt").exists()


@pytest.mark.parametrize("command", COMMANDS[:2], ids=str)
def test_what_cannot_be_written_aborts(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if command is COMMANDS[0]:
        folder = write_folder(tmp_path / "run", good_spec())
    else:
        answers = [(i, ids(text), None) for i, text in enumerate(TEXTS)]
        folder = scorable_run(tmp_path, answers, TEXTS)

    def full(_path: Path, _text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "file"))

    monkeypatch.setattr("record.folder.write_text", full)
    assert command.call(str(folder.path)) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"aborted: {folder / 'file'}: No space left on device")
    assert said.count("\n") == 1


def test_a_finished_command_has_its_own_code() -> None:
    assert run_command(lambda: ExitCode.GOOD) == 0
    assert run_command(lambda: ExitCode.NOT_GOOD) == 1


def test_subcommands_complain_as_their_parser_does() -> None:
    parser = ArgumentParser(prog="python -m some")
    parser.add_subparsers(required=True).add_parser("run")
    with pytest.raises(UserError, match=r"unrecognized.*`python -m some.*--help`"):
        parser.parse_args(["run", "--odd"])
    with pytest.raises(UserError, match="invalid choice"):
        parser.parse_args(["walk"])


def test_a_value_that_is_given_twice_is_refused() -> None:
    parser = ArgumentParser(prog="python -m some")
    parser.add_argument("-o", "--out")
    parser.add_argument("--mark", action="append")
    for _ in range(2):
        given = parser.parse_args(["-o", "a", "--mark", "x", "--mark", "y"])
        assert (given.out, given.mark) == ("a", ["x", "y"])
    with pytest.raises(UserError, match=r"^--out is given twice; give it once; see"):
        parser.parse_args(["-o", "a", "--out=b"])


_WAITS = """
import time
from base.command import run_command, start
def body():
    print("ready", flush=True)
    time.sleep(60)
    return 0
start(lambda: run_command(body))
"""
_TALKS = """
from base.command import run_command, start
def body():
    print("x" * 100_000)
    return 0
start(lambda: run_command(body))
"""
_IS_WRONG = """
from base.command import run_command, start
def body():
    return 1 // 0
start(lambda: run_command(body))
"""


@pytest.mark.integration
def test_a_defect_is_no_result_that_is_not_good() -> None:
    command = [sys.executable, "-c", _IS_WRONG]
    done = subprocess.run(command, stderr=-1, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith(
        "ZeroDivisionError: integer division or modulo by zero\n"
    )


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_command_as_aborted(number: signal.Signals) -> None:
    command = [sys.executable, "-c", _WAITS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert said == "aborted: interrupted\n"


@pytest.mark.integration
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_an_import_ends_a_command_as_aborted(
    number: str, tmp_path: Path
) -> None:
    """Dataclasses are made by `exec`, after which `python -m` would exit with 130."""
    text = f"import os, signal, time; os.kill(os.getpid(), signal.{number})"
    body = f"exec({text + '; time.sleep(60)'!r})"
    (tmp_path / "program.py").write_text(
        "from base.command import run_command, start\n"
        f"start(lambda: run_command(lambda: {body}))\n"
    )
    command = [sys.executable, "-m", "program"]
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (3, "aborted: interrupted\n")


@pytest.mark.integration
def test_a_full_disk_behind_stdout_aborts_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", _TALKS]
        done = subprocess.run(command, stdout=full, stderr=-1, text=True, check=False)
        listing = [sys.executable, "-m", "report", "--help"]
        helped = subprocess.run(listing, stdout=full, stderr=-1, text=True, check=False)
    for ended in (done, helped):
        assert ended.returncode == 3
        assert ended.stderr == "aborted: No space left on device\n"


@pytest.mark.integration
def test_a_reader_that_is_gone_aborts_in_silence() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", _TALKS]
    done = subprocess.run(command, stdout=writer, stderr=-1, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (3, "")


def test_a_name_that_the_terminal_cannot_show_is_escaped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="utf-8"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def body() -> int:
        print(os.fsdecode(b"runs/\xff"), flush=True)
        return 0

    with pytest.raises(SystemExit) as ended:
        start(body)
    assert (ended.value.code, shown.getvalue()) == (0, b"runs/\\udcff\n")
