"""The flags of a campaign's command line, and its result."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from base.child import Children, Ended
from campaigns.output import Output, Summary, output_flags, show
from campaigns.progress import time_left
from campaigns.scaling.__main__ import main
from record.campaign import read_campaign
from tests.run_folder import good_spec, write_folder


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """`--quiet` is for the whole process: take it back."""
    yield
    logging.getLogger("mlperf_sut").setLevel(logging.INFO)


def _summary() -> Summary:
    return Summary(
        campaign="scaling",
        status="good",
        conclusion="",
        folder="runs/\udcff",
        report="runs/report.html",
        columns={"replicas": "replicas", "value": "result", "low": "from", "ok": "ok"},
        rows=[
            {"replicas": 1, "value": 12345.678, "ok": True},
            {"replicas": 12, "value": 0.98765, "ok": False},
        ],
    )


def test_a_table_has_the_columns_that_have_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(Output(), _summary())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["replicas", "result", "ok"],
        ["1", "12,346", "yes"],
        ["12", "0.9877", "no"],
        ["report:", "runs/report.html"],
    ]


def test_json_is_one_object_with_every_value(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(Output(as_json=True), _summary(), "a text for the terminal")
    found = json.loads(capsys.readouterr().out)
    assert found["rows"][0] == {"replicas": 1, "value": 12345.678, "ok": True}
    assert found["folder"] == "runs/\\udcff"
    assert found["status"] == "good"


def test_flags_are_taken_out_of_the_arguments() -> None:
    output, rest = output_flags(["--json", "replicas=1", "--quiet"])
    assert (output, rest) == (Output(quiet=True, as_json=True), ["replicas=1"])


@pytest.mark.integration  # starts processes
def test_the_stdout_of_runs_is_not_mixed_with_json(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for output, printed in (
        (Output(), ("x\n", "")),
        (Output(as_json=True), ("", "x\n")),
        (Output(quiet=True), ("", "")),
    ):
        with output.children() as children:
            assert children.run([sys.executable, "-c", "print('x')"]).code == 0
        assert tuple(capfd.readouterr()) == printed


@pytest.mark.integration  # writes a report
def test_a_quiet_campaign_prints_json_only_and_its_runs_are_quiet(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("report.build.draw", lambda report: [])
    asked: list[Sequence[str]] = []
    ends: list[float | None] = []

    def run(
        self: Children, command: Sequence[str], env: Mapping[str, str] | None = None
    ) -> Ended:
        del self, env
        asked.append(command)
        ends.append(read_campaign(tmp_path).expected_end_s)
        folder = tmp_path / f"run-{len(asked)}"
        write_folder(folder, good_spec(64, 1))
        return Ended(code=0, folder=folder)

    monkeypatch.setattr(Children, "run", run)
    given = ["replicas=1", "scenario=offline", "engine=synthetic", "dataset=synthetic"]
    given += ["dataset.count=64", f"run.dir={tmp_path}", "--quiet", "--json"]
    assert main(given) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    found = json.loads(printed.out)
    assert (found["status"], found["campaign"]) == ("good", "scaling")
    assert [row["replicas"] for row in found["rows"]] == [1]
    assert found["rows"][0]["runs"] == 3
    assert Path(found["report"]).exists()
    assert all("--quiet" in command for command in asked)
    assert "--quiet" not in read_campaign(tmp_path).command
    assert ends[0] is None
    assert all(end is not None for end in ends[1:])
    assert read_campaign(tmp_path).expected_end_s is None


def test_the_time_left_counts_runs_by_their_kind() -> None:
    assert time_left([], ["a"]) is None
    made = [("a", 10.0), ("a", 20.0), ("b", 100.0)]
    assert time_left(made, []) == 0
    assert time_left(made, ["a", "b"]) == 115
    # A kind that is not known takes the mean of the kinds, not of the runs.
    assert time_left(made, ["c"]) == 57.5


def test_the_time_left_falls_steadily_where_kinds_differ() -> None:
    """A run of a long kind after short ones must not move the estimate."""
    seconds = {"short": 10.0, "long": 200.0}
    order = ["short", "long", "long", "short", "short", "long", "short", "long"]
    made: list[tuple[str, float]] = []
    for place, kind in enumerate(order):
        if place >= 2:
            left = order[place:]
            assert time_left(made, left) == sum(seconds[one] for one in left)
        made.append((kind, seconds[kind]))
