import hashlib
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from base.errors import UserError
from base.files import project_files
from record.loadgen_log import read_answers
from submission.build import build_tree
from submission.check import check_submission
from submission.checks import check_tree
from submission.layout import SubmitterFolder
from submission.official import Checkout
from submission.request import Request, read_request
from tests.submission.requests import RATE, write_request
from tests.submission.trees import as_runs, unpack

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def request_of_runs(tmp_path_factory: pytest.TempPathFactory) -> Request:
    folder = tmp_path_factory.mktemp("submission")
    request = read_request(
        write_request(
            folder, scenarios=["server"], scenario_options={"server": RATE["server"]}
        )
    )
    as_runs(unpack(folder / "fixture", source=False), request.runs)
    build_tree(request)
    return request


@pytest.fixture(scope="module")
def home(request_of_runs: Request) -> SubmitterFolder:
    return SubmitterFolder(request_of_runs.tree / "open" / "Example")


def test_tree_of_runs_that_passed_is_good(request_of_runs: Request) -> None:
    assert check_tree(request_of_runs.tree) == []


def test_tree_has_the_whole_project(home: SubmitterFolder) -> None:
    assert project_files(home.source) == project_files()
    for name in ("setup.py", "calibration/compress.py", "docs/submission.md"):
        assert (home.source / name).is_file()


def test_accuracy_log_is_cut_and_its_hash_stored(
    request_of_runs: Request, home: SubmitterFolder
) -> None:
    result = home.results()[0]
    runs = request_of_runs.runs
    whole = runs / "20260101T000000Z-server-accuracy" / "mlperf_log_accuracy.json"
    message = hashlib.sha256(whole.read_bytes()).hexdigest()
    assert result.scores.read_text().endswith(f"\n\nhash={message}\n")
    cut = result.accuracy.accuracy_log.read_bytes()
    assert len(cut) == 4096 + len("\n\n...\n\n") + 4096
    assert whole.read_bytes().startswith(cut[:4096])


def test_compliance_log_is_whole(home: SubmitterFolder) -> None:
    result = home.results()[0]
    assert len(read_answers(result.compliance_answers)) == 100
    assert result.verification.read_text().splitlines() == [
        "First token check pass: True",
        "EOS check pass: True",
        "Sample length check pass: True",
        "TEST06 verification complete",
    ]


def test_texts_come_from_the_runs(home: SubmitterFolder) -> None:
    result = home.results()[0]
    assert "scenario Server" in result.readme.read_text()
    message = json.loads(result.measurements.read_text())
    assert message["weight_data_types"] == "none: the synthetic engine has no weights"
    # 22.1 samples/s x 2048 tokens x 4 bytes
    assert "| Server | 22.11 | 181,0" in home.bandwidth.read_text()
    system = json.loads(home.system("synthetic-1").read_text())
    assert system["cooling"] == "made up"
    assert system["host_processor_model_name"]


def test_check_tells_that_runs_cannot_be_judged_again(
    request_of_runs: Request,
) -> None:
    text = io.StringIO()
    console = Console(file=text, soft_wrap=True)
    assert not check_submission(request_of_runs, None, console)
    # The fixture has no samples.jsonl, which the gate reads.
    assert "tree: good" in text.getvalue()
    assert "samples.jsonl: No such file" in text.getvalue()
    assert "runs: 3 finding(s)" in text.getvalue()
    assert "official tools: not run" in text.getvalue()


def test_check_needs_tree_and_checkout(
    request_of_runs: Request, tmp_path: Path
) -> None:
    console = Console(file=io.StringIO())
    with pytest.raises(UserError, match="give a checkout of mlcommons/inference"):
        check_submission(request_of_runs, Checkout(tmp_path), console)
    other = read_request(write_request(tmp_path))
    with pytest.raises(UserError, match="no tree"):
        check_submission(other, None, console)


def test_missing_runs_are_all_named(tmp_path: Path) -> None:
    request = read_request(write_request(tmp_path))
    with pytest.raises(UserError) as error:
        build_tree(request)
    for title in ("Offline performance", "Server compliance", "Server accuracy"):
        assert title in str(error.value)
    assert not request.tree.exists()
