from pathlib import Path

import msgspec
import pytest

from submission.__main__ import main
from submission.machine import Machine
from tests.submission.requests import write_request


@pytest.mark.integration
def test_describe_prints_what_a_request_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["describe"]) == 0
    msgspec.json.decode(capsys.readouterr().out, type=Machine)


def test_mistakes_are_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_request(tmp_path, submitter=None)
    assert main(["build", str(path)]) == 2
    assert capsys.readouterr().err == f"error: {path}: no value for submitter\n"
    assert main(["check", str(write_request(tmp_path))]) == 2
    assert "no tree" in capsys.readouterr().err


@pytest.mark.integration
def test_dry_run_lists_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_request(tmp_path, scenarios=["offline"], scenario_options={})
    assert main(["run", "--dry-run", str(path)]) == 2
    out, error = capsys.readouterr()
    assert "Offline performance" in out
    assert "probe first" in out
    assert error == (
        "error: no submission can be built from these runs: engine=synthetic answers"
        " with synthetic tokens, which have no accuracy\n"
    )
    assert not (tmp_path / "work").exists()
