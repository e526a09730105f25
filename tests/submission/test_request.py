from pathlib import Path
from typing import Any

import pytest

from base.benchmark import ScenarioName
from base.errors import UserError
from submission.request import Division, read_request
from tests.submission.requests import write_request


def test_request_is_typed_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    request = read_request(write_request(tmp_path, machines=["node.json"]))
    assert request.division is Division.open
    assert request.scenarios == [ScenarioName.offline, ScenarioName.server]
    assert request.tree == tmp_path / "work" / "tree"
    assert request.machines == [str(tmp_path / "node.json")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"submitter": None}, "no value for submitter"),
        ({"calibration": None, "weights": None}, "calibration, weights.starting"),
        ({"submitter": "a/b"}, "cannot name a folder"),
        ({"division": "shut"}, "shut"),
        ({"divison": "open"}, "divison"),
        ({"scenarios": []}, "names none"),
        ({"scenarios": ["singlestream"]}, "no part of datacenter"),
        (
            {"division": "closed", "scenarios": ["offline"]},
            "one of server, interactive",
        ),
        ({"division": "closed", "scenarios": ["server"]}, "needs offline"),
        (
            {"division": "closed", "benchmark": "edge", "scenarios": ["offline"]},
            "singlestream",
        ),
        ({"division": "closed"}, "bandwidth: closed needs"),
        ({"scenario_options": {"interactive": []}}, "interactive is not run"),
        ({"options": ["mode=accuracy"]}, "chosen by the submission"),
        ({"options": ["run=smoke"]}, "chosen by the submission"),
    ],
)
def test_bad_requests_are_reported_in_one_line(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError) as error:
        read_request(write_request(tmp_path, **changes))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable_requests_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_request(tmp_path / "none.yaml")
    path = tmp_path / "bad.yaml"
    path.write_text("a: [")
    with pytest.raises(UserError, match="not YAML"):
        read_request(path)
    for text in ("9223372036854775808", "true", "offline", "[a, b]", ""):
        path.write_text(text)
        with pytest.raises(UserError, match="no request: write a FIELD: VALUE"):
            read_request(path)
