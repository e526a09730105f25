"""What can never be built is refused before the first run."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from base.errors import UserError
from conf.load import load_config
from conf.schema import Mode
from submission import build, make
from submission.build import require_buildable
from submission.make import make_all
from submission.plan import PlannedRun, options_for
from submission.request import Request, read_request
from tests.submission.requests import write_request
from tests.submission.test_system import NODE

REAL = ["model=llama3_1-8b", "dataset=cnn_dailymail", "dataset.path=data.json"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").touch()
    return folder


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "describe_machine", lambda: NODE)


def request(folder: Path, **changes: Any) -> Request:
    values = {"scenarios": ["offline"], "scenario_options": {}} | changes
    return read_request(write_request(folder, **values))


def planned(wanted: Request) -> list[PlannedRun]:
    """Return the first run of a request, twice: composing all takes long."""
    options = options_for(wanted, wanted.scenarios[0], Mode.accuracy)
    config = load_config(options)
    run = PlannedRun(
        scenario=wanted.scenarios[0],
        mode=Mode.accuracy,
        options=options,
        config=config,
        expected_s=None,
    )
    return [run, run]


def problems(wanted: Request) -> str:
    with pytest.raises(UserError) as error:
        require_buildable(wanted, planned(wanted))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_checkpoint_and_data_can_be_built(tmp_path: Path, checkpoint: Path) -> None:
    wanted = request(tmp_path, options=[*REAL, f"model.path={checkpoint}"])
    require_buildable(wanted, planned(wanted))


def test_all_that_is_missing_is_named_once(tmp_path: Path) -> None:
    options = ["engine=synthetic", "dataset=synthetic"]
    said = problems(request(tmp_path, options=options, description={"cooling": "air"}))
    for words in ("engine=synthetic", "dataset=synthetic", "host_memory_configuration"):
        assert said.count(words) == 1, words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["model=llama3_1-8b_dummy"], "random weights and no tokenizer"),
        (["model=llama3_1-8b", "model.path=nowhere"], "nowhere has no tokenizer.json"),
        (["dataset=synthetic"], "dataset=synthetic has no references"),
    ],
)
def test_what_has_no_accuracy_is_refused(
    tmp_path: Path, options: list[str], words: str
) -> None:
    data = [] if "dataset=synthetic" in options else REAL[1:]
    assert words in problems(request(tmp_path, options=[*options, *data]))


def test_closed_takes_the_benchmarks_model_and_data_alone(tmp_path: Path) -> None:
    wanted = request(
        tmp_path,
        division="closed",
        scenarios=["offline", "server"],
        scenario_options={"server": ["scenario.target_qps=9"]},
        bandwidth="one host",
        options=["model=smollm2_135m", "dataset=sample"],
    )
    said = problems(wanted)
    assert "closed does not take model=smollm2_135m" in said
    assert "closed does not take dataset=sample" in said


@pytest.mark.integration
def test_no_run_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_arguments: object) -> None:
        raise AssertionError("a run was started")

    monkeypatch.setattr(make, "make_run", started)
    monkeypatch.setattr(make, "probe", started)
    wanted = request(tmp_path, options=["engine=synthetic", "dataset=synthetic"])
    with pytest.raises(UserError, match="no submission can be built"):
        make_all(wanted, Console(file=io.StringIO()))
