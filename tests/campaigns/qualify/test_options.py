"""The command line of a qualification, its reference file and its history."""

from pathlib import Path

import pytest

from base.errors import UserError
from campaigns.qualify import __main__ as command
from campaigns.qualify.options import parse
from campaigns.qualify.record import (
    NAME,
    Qualification,
    ReplicaMeasure,
    ReplicaResult,
)
from campaigns.qualify.reference import (
    KnownSpeeds,
    deciding,
    read_history,
    read_references,
    write_references,
)
from conf.load import load_config
from record.folder import write_json

HARNESS = ["engine=synthetic", "dataset=synthetic", "dataset.count=64"]
H200 = [
    "experiment=hopper_offline",
    "model=llama3_1-8b_dummy",
    "model.path=/m",
    "dataset=cnn_dailymail",
]


def test_options() -> None:
    options = parse(
        [
            *HARNESS,
            "samples=50",
            "rate=2.5",
            "server.run.ttft_ms=300",
            "offline.engine.step_s=0.1",
            "--make-reference",
            "own.yaml",
            "--dry-run",
        ]
    )
    assert (options.samples, options.rate, options.dry_run) == (50, 2.5, True)
    assert options.make_reference == Path("own.yaml")
    assert options.server == ["run.ttft_ms=300"]
    assert options.offline == ["engine.step_s=0.1"]
    assert options.overrides == HARNESS


def test_without_samples_the_data_set_is_answered_once() -> None:
    assert parse(HARNESS).samples == 64


def test_the_benchmarks_model_has_the_benchmarks_limits() -> None:
    options = parse(["model=llama3_1-8b", "model.path=/m", "server.run.ttft_ms=300"])
    assert options.server == [
        "run.ttft_ms=300",
        "run.tpot_ms=100",
        "run.latency_percentile=0.99",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("samples=0", "write a whole number from 1 to"),
        ("rate=0", "a number above 0"),
        ("tolerance=0.6", "below 0.5"),
        ("scenario=server", "sets it"),
        ("cluster.only=[1]", "sets it"),
        ("run.min_queries=5", "write samples="),
        ("--make-reference", "needs a file"),
        ("reference=", "no path"),
        ("offline.mode=accuracy", "sets it"),
        ("server.scenario=offline", "sets it"),
        ("server.run=full", "sets it"),
        ("offline.run.min_queries=5", "write samples="),
        ("offline.run.dir=x", "write run.dir=x"),
        ("server.cluster.replicas=3", "write cluster.replicas=3"),
        ("confirm=999999999", "from 0 to 100"),
        ("history=", "no path"),
        ("history=/dev/null", "no such folder"),
        ("tolerence=0.1", "did you mean tolerance="),
        ("server.engine.nothing=1", "no such option"),
    ],
)
def test_mistakes_are_reported(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse([*HARNESS, text])


def test_an_option_that_is_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="samples= is given twice"):
        parse([*HARNESS, "samples=5", "samples=6"])


def test_a_dry_run_lists_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    given = [*HARNESS, "cluster.replicas=4", "--dry-run"]
    assert command.main(given) == 0
    text = capsys.readouterr().out
    assert "2 runs: answers, 256 prompts in each" in text
    assert "at most 12 runs if nothing fails" in text


def test_another_cluster_needs_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([*HARNESS, "cluster=ray", "--dry-run"]) == 2
    assert "give the number of replicas" in capsys.readouterr().err


def measure(device: str = "NVIDIA H200 #0", replica: int = 0) -> ReplicaMeasure:
    return ReplicaMeasure(replica=replica, node="n1", devices=[device])


def result(speed: float, replica: int = 0) -> ReplicaResult:
    return ReplicaResult(
        replica=replica,
        node="n1",
        devices=["NVIDIA H200 #0"],
        outcome="passed",
        checks=[],
        alone_tokens_per_s=speed,
    )


def test_the_references_of_this_package_fit_the_runs_that_they_name() -> None:
    settings = deciding(load_config(H200))
    known = KnownSpeeds(settings, read_references(None), [])
    assert known(measure()).low == 8602
    assert known(measure("NVIDIA H100 80GB HBM3 #3")).low == 8010
    assert "no entry for NVIDIA A100" in known(measure("NVIDIA A100 #0")).source
    other = deciding(load_config([*H200, "engine.options.max_num_seqs=512"]))
    yardstick = KnownSpeeds(other, read_references(None), [])(measure())
    assert yardstick.low is None
    assert "other settings: engine.options.max_num_seqs=1024" in yardstick.source


def test_planted_faults_do_not_change_what_is_compared() -> None:
    slow = load_config([*HARNESS, "engine.slowdown.0=2"])
    assert deciding(slow) == deciding(load_config(HARNESS))


@pytest.mark.parametrize("name", ["own.yaml", "own.json"])
def test_a_reference_is_made_from_what_passed(tmp_path: Path, name: str) -> None:
    record = Qualification(command=[], started="2026", settings={"model.name": "m"})
    record.replicas = [result(100.0), result(110.0, 1), result(50.0, 2)]
    record.replicas[2].outcome = "failed"
    for _ in range(2):
        write_references(tmp_path / name, record)
    (one,) = read_references(tmp_path / name)
    assert one.offline_tokens_per_s == (100.0, 110.0)
    assert KnownSpeeds({"model.name": "m"}, [one], [])(measure()).low == 100.0
    assert KnownSpeeds({"model.name": "x"}, [one], [])(measure()).low is None


@pytest.mark.parametrize(
    "text",
    ["- 3", "references: [{device: x}]", "references: [", "refs: []"],
)
def test_a_file_that_is_no_reference(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="not a reference file"):
        read_references(path)


def test_only_equal_settings_make_a_history(tmp_path: Path) -> None:
    def write(name: str, started: str, **changes: object) -> None:
        values = {"command": [], "started": started, "settings": {"a": 1}}
        record = Qualification(**(values | changes))  # type: ignore[arg-type]
        record.replicas = [result(90.0)]
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / NAME, record)

    write("b", "2026-02", status="failed")
    write("a", "2026-01", status="passed")
    write("c", "2026-03", status="passed", settings={"a": 2})
    write("d", "2026-03", status="interrupted")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / NAME).write_text("{")
    own = Qualification(command=[], started="2026-04", settings={"a": 1})
    found = read_history(tmp_path, tmp_path / "z", own)
    assert [one.started for one in found] == ["2026-01", "2026-02"]
    history = KnownSpeeds({}, [], found)(measure()).history
    assert [point.tokens_per_s for point in history] == [90.0, 90.0]
    assert KnownSpeeds({}, [], found)(measure(replica=1)).history == []


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--make-reference=/nowhere/x.yaml", "there is no folder"),
        ("--make-reference=/", "a folder; name a file"),
        ("--make-reference=/proc/x.yaml", "No such file"),
        ("--make-reference=/etc/hostname", "not a reference file"),
        ("run.dir=/dev/null", "File exists; name another folder"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused_before_any_run(
    capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    assert command.main([*HARNESS, option]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"runs": null}', "\0" * 20])
def test_a_damaged_record_is_never_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / NAME).write_text(text)
    words = [*HARNESS, "cluster.replicas=2", f"run.dir={tmp_path}"]
    assert command.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / NAME}: ")
    assert line.endswith("; name another run.dir")
    assert (tmp_path / NAME).read_text() == text
