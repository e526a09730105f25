"""None"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from base.child import Children, Ended
from base.errors import Aborted, SutError, UserError
from conf.load import load_config
from conf.schema import Config
from submission.runs import conditions, differences, digest, make_run

BASE = ("engine=synthetic", "dataset=synthetic", "run=full")


@pytest.fixture(scope="module")
def base() -> Config:
    return load_config(BASE)


@pytest.mark.parametrize(
    "option", ["mode=accuracy", "run.dir=elsewhere", "run.live=plain"]
)
def test_what_a_run_is_for_and_where_it_goes_is_free(base: Config, option: str) -> None:
    assert digest(load_config([*BASE, option])) == digest(base)


@pytest.mark.parametrize(
    "option",
    [
        "engine.max_num_seqs=8",
        "cluster.replicas=3",
        "scenario.target_qps=7",
        "run.user_conf=other.conf",
        "model.max_model_len=3000",
    ],
)
def test_everything_else_is_reported_by_its_name(base: Config, option: str) -> None:
    other = load_config([*BASE, option])
    assert digest(base) != digest(other)
    found = differences(conditions(base), conditions(other))
    assert found == [option.partition("=")[0]]


FOLDER = Path("/runs/this")


class Stub(Children):
    """Runs nothing; ends as given."""

    def __init__(self, code: int, folder: Path | None, signalled: bool) -> None:
        super().__init__()
        self._ended = Ended(code=code, folder=folder)
        self._signalled = signalled
        self.command: list[str] = []

    def run(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        hopeless: object = None,
    ) -> Ended:
        self.command = list(command)
        if self._signalled:
            self.interrupted = signal.SIGTERM
        return self._ended


@pytest.mark.parametrize("code", [0, 1])
def test_the_folder_is_the_one_that_the_run_named(tmp_path: Path, code: int) -> None:
    (tmp_path / "latest").symlink_to("/runs/another")
    stub = Stub(code, FOLDER, signalled=False)
    assert make_run(stub, "Offline", ["a=b"], tmp_path).path == FOLDER
    assert stub.command[-2:] == ["a=b", f"run.dir={tmp_path}"]


@pytest.mark.parametrize(
    ("code", "folder", "signalled", "error", "words"),
    [
        (2, None, False, UserError, "Offline: the line above says"),
        (
            3,
            FOLDER,
            False,
            Aborted,
            r"Offline: aborted \(exit 3\); finished runs",
        ),
        (-9, FOLDER, False, Aborted, r"aborted \(exit -9\)"),
        (0, None, False, Aborted, "named no run folder"),
        (
            3,
            FOLDER,
            True,
            Aborted,
            "Offline: interrupted by SIGTERM; finished",
        ),
        (0, FOLDER, True, Aborted, "interrupted by SIGTERM"),
    ],
)
def test_other_ends_are_reported(
    code: int, folder: Path | None, signalled: bool, error: type[SutError], words: str
) -> None:
    with pytest.raises(error, match=words):
        make_run(Stub(code, folder, signalled), "Offline", [], Path("runs"))


_RUN = """#!/bin/sh
trap 'echo ended > "$0.ended"; exit 3' INT TERM HUP
echo begun
while :; do sleep 0.05; done
"""
_SUBMISSION = """
import sys
from pathlib import Path
from base.child import Children
from base.command import start, run_command
from submission.runs import make_run
sys.executable = sys.argv[1]
def body():
    with Children() as children:
        make_run(children, "Offline", [], Path("runs"))
    return 0
start(lambda: run_command(body))
"""


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_run_which_is_waited_for(
    tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    run.write_text(_RUN)
    run.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-c", _SUBMISSION, str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert said.startswith(f"aborted: Offline: interrupted by {number.name}; ")
    assert (tmp_path / "run.ended").read_text() == "ended\n"
