"""What follows a run cannot spoil it, and what is missing is never exit code 0."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from base.errors import ExitCode, UserError
from record.folder import RunFolder, read_json
from record.structs import Verdict
from sut import postprocess
from sut.interrupts import ignore_interrupts
from sut.postprocess import conclude
from tests.run_folder import good_spec, write_folder

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
Step = Callable[[RunFolder], object]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ignore_interrupts()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is a page without content."""
    _do(monkeypatch, "write_report", lambda folder: _page(folder).write_text(""))


@pytest.fixture
def accuracy_run(tmp_path: Path) -> RunFolder:
    spec = good_spec()
    spec.mode = "accuracy"
    spec.answers = [(index, [5, 6, 2], None) for index in range(64)]
    return write_folder(tmp_path / "run", spec)


def _do(monkeypatch: pytest.MonkeyPatch, name: str, step: Step) -> None:
    monkeypatch.setattr(postprocess, name, step)


def _page(folder: RunFolder) -> Path:
    return folder / "report.html"


def _raising(error: Exception) -> Step:
    def step(folder: RunFolder) -> object:
        raise error

    return step


def _interrupted(number: signal.Signals) -> Step:
    return lambda folder: os.kill(os.getpid(), number)


def _verdict(folder: RunFolder) -> Verdict:
    return read_json(folder.verdict, Verdict)


def _conclude(folder: RunFolder) -> ExitCode:
    return conclude(folder, _verdict(folder))


@pytest.mark.usefixtures("report")
def test_a_good_run_is_exit_0_and_names_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    assert _conclude(folder) == ExitCode.GOOD
    assert f"open next: {_page(folder)}" in capsys.readouterr().out


@pytest.mark.usefixtures("report")
def test_a_run_that_failed_is_exit_1(tmp_path: Path) -> None:
    spec = good_spec()
    spec.log["result_validity"] = "INVALID"
    assert _conclude(write_folder(tmp_path / "run", spec)) == ExitCode.NOT_GOOD


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_without_a_report_the_code_is_not_0_and_no_page_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    said: str,
) -> None:
    _do(monkeypatch, "write_report", _raising(error))
    folder = write_folder(tmp_path / "run", good_spec())
    assert _conclude(folder) == ExitCode.ABORTED
    message = capsys.readouterr()
    assert said in message.err
    assert f"mlperf-sut report {folder.path}" in message.err
    assert "open next" not in message.out
    assert "passed" in message.out
    assert _verdict(folder).outcome == "passed"
    assert said in (folder / "traceback.txt").read_text()


@pytest.mark.usefixtures("report")
def test_an_accuracy_run_without_text_is_not_good(
    accuracy_run: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _do(monkeypatch, "score_run", _raising(UserError("made-up tokens")))
    assert _verdict(accuracy_run).outcome == "passed"
    assert _conclude(accuracy_run) == ExitCode.NOT_GOOD
    (check,) = _verdict(accuracy_run).failures
    assert (check.name, check.note) == ("accuracy_scored", "made-up tokens")
    assert "no accuracy: made-up tokens" in capsys.readouterr().err


@pytest.mark.usefixtures("report")
def test_an_error_while_scoring_does_not_spoil_the_run(
    accuracy_run: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _do(monkeypatch, "score_run", _raising(ValueError("unforeseen")))
    assert _conclude(accuracy_run) == ExitCode.ABORTED
    verdict = _verdict(accuracy_run)
    assert verdict.outcome == "failed"
    assert [check.name for check in verdict.failures] == ["accuracy_scored"]
    assert f"mlperf-sut accuracy {accuracy_run.path}" in capsys.readouterr().err
    assert "unforeseen" in (accuracy_run / "traceback.txt").read_text()
    assert _page(accuracy_run).exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_scoring_can_be_interrupted(
    accuracy_run: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    _do(monkeypatch, "score_run", _interrupted(number))
    assert _conclude(accuracy_run) == ExitCode.ABORTED
    message = capsys.readouterr().err
    assert f"interrupted by {number.name}" in message
    assert f"mlperf-sut accuracy {accuracy_run.path}" in message
    assert f"mlperf-sut report {accuracy_run.path}" in message
    verdict = _verdict(accuracy_run)
    assert [check.name for check in verdict.failures] == ["accuracy_scored"]
    assert not _page(accuracy_run).exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_the_report_can_be_interrupted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    _do(monkeypatch, "write_report", _interrupted(number))
    folder = write_folder(tmp_path / "run", good_spec())
    assert _conclude(folder) == ExitCode.ABORTED
    assert f"mlperf-sut report {folder.path}" in capsys.readouterr().err
    assert _verdict(folder).outcome == "passed"
