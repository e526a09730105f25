"""The command of a tuning campaign: options, files, proposals, real runs."""

import json
from pathlib import Path

import pytest
import yaml

from base.child import Children
from base.errors import UserError
from campaigns.tune import __main__ as command
from campaigns.tune.experiment import rest, settings
from campaigns.tune.knobs import Space, read_knob
from campaigns.tune.measure import Measurement, Objective, TuneRunner, read_measurement
from campaigns.tune.options import parse
from campaigns.tune.proposals import OptunaProposer
from campaigns.tune.record import Candidate, Tune, TuneRun
from conf.load import load_config
from forecast.limits import Limit, Limits
from record.folder import RunFolder, read_json, write_json
from record.structs import SettingsRecord, Verdict
from tests.forecast.made_up import write_run

COMMON = [
    *("engine=synthetic", "dataset=synthetic", "dataset.count=50"),
    *("model=llama3_1-8b_dummy", "cluster.replicas=1"),
]
SERVER = [*COMMON, "scenario=server", "scenario.target_qps=50"]


def test_short_names_and_single_values_become_options_of_every_run() -> None:
    options = parse(
        [*COMMON, "max_num_seqs=64", "max_num_seqs=8,64", "engine.step_s=0.1..0.2"]
    )
    assert options.shared[-1] == "engine.max_num_seqs=64"
    assert [knob.option for knob in options.knobs] == [
        "engine.max_num_seqs",
        "engine.step_s",
    ]
    assert options.objective == Objective("tokens_per_s")
    assert len(options.effort.seeds) == 3
    assert parse([*SERVER, "max_num_seqs=8,64"]).objective == Objective("limit_load")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no knob: give an option several values or a range"),
        (["max_num_seqs=8,64", "--fast"], "options are written KEY=VALUE"),
        (["max_num_seqs=8,64", "--write"], "--write: name a file"),
        (["max_num_seqs=8,64", "--write", "--dry-run"], "--write: name a file"),
        (["max_num_seqs=8,64", "--write", "/nowhere/x.yaml"], "there is no folder"),
        (["max_num_seqs=8,64", "objektive=x"], "did you mean objective="),
        (["max_num_seqs=8,64", "objective=x"], "objective=x must be one of"),
        (["max_num_seqs=8,64", "objective=ttft_ms_p99"], "has no such figure"),
        (["max_num_seqs=8,64", "runs=20"], "leaves 0 runs to screen"),
        (["max_num_seqs=8,64", "pairs=2"], "pairs=2: write a whole number from 3"),
        (["max_num_seqs=8,64", "seeds=100000000"], "seeds=100000000: write"),
        (["max_num_seqs=8,64", "run.dir="], "run.dir=: name a folder"),
        (["max_num_seqs=8,64", "run.dir=/dev/null"], "/dev/null: File exists; name"),
        (["max_num_seqs=8,64", "run.dir=" + 300 * "x"], "File name too long"),
        (["max_num_seqs=8,64", "run.dir=/proc/x"], "run.dir=/proc/x: No such file"),
        (["max_num_seqs=8,64", "--write=/proc/x.yaml"], "--write /proc/x.yaml: No"),
        (["max_num_seqs=8,64", "budget_s=x"], "budget_s=x: write a number above 0"),
        (["max_num_seqs=8,64", "runs=40", "runs=50"], "runs= is given twice"),
        (
            ["max_num_seqs=8,64", "balancer=round_robin", "cluster.balancer=null"],
            "cluster.balancer= is given twice",
        ),
        (["max_num_seqs=8,64", "--write=a", "--write", "b"], "--write is given twice"),
        (["max_num_seqs=8,64", "where=max_num_seqs>64"], "no setting meets"),
        (["max_num_seqs=8,64", "where=other>64"], "there is no knob other"),
        (["max_num_seqs=8,64", "mode=accuracy"], "has no performance to tune"),
        (["cluster.replicas=0,1"], "cluster.replicas=0: cluster.replicas is 0"),
        (["scenario.target_qps=1,2"], "defines the benchmark"),
        (["max_num_seqs=8,64", "engine.max_num_seqs=8,9"], "is a knob twice"),
        (["scenario=server", "max_num_seqs=8,64"], "needs scenario.target_qps"),
        (["max_num_seqs=8,64", "run=full", "scenario.target_qps=9"], "write seeds=0"),
    ],
)
def test_bad_input_ends_before_any_run(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert command.main([*COMMON, *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("candidates", [], "the first candidate is not the default"),
        ("made", [{"candidate": 7, "phase": "screen"}], "a candidate that is not"),
        ("result", {"better": True, "candidate": -1}, "a candidate that is not there"),
        (
            "candidates",
            [{"point": {}, "origin": "default"}, {"point": {"a": "1"}, "origin": "x"}],
            "Invalid enum value",
        ),
        (
            "candidates",
            [
                {"point": {}, "origin": "default"},
                {"point": {"run.dir": "/"}, "origin": "optuna"},
            ],
            "an option that is no knob",
        ),
    ],
)
def test_a_damaged_record_is_refused_and_kept(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    part: str,
    value: object,
    message: str,
) -> None:
    options = parse([*COMMON, "max_num_seqs=8,64"])
    record = {
        "shared": options.shared,
        "knobs": [str(knob) for knob in options.knobs],
        "where": [],
        "objective": options.objective.name,
        "better": "higher",
        "limits": [],
        part: value,
    }
    (tmp_path / "tune.json").write_text(text := json.dumps(record))
    given = [*COMMON, "max_num_seqs=8,64", f"run.dir={tmp_path}"]
    assert command.main(given) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "tune.json").read_text() == text


def test_a_file_of_the_user_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("engine: {}\n")
    assert command.main([*COMMON, "max_num_seqs=8,9", f"--write={path}"]) == 2
    assert "was not written by this command" in capsys.readouterr().err


def test_a_dry_run_states_knobs_budget_and_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*SERVER, "run.min_queries=3000", "max_num_seqs=8,64", "budget_s=3600"]
    root = tmp_path / "tune"
    assert command.main([*given, f"run.dir={root}", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "engine.max_num_seqs=8,64 (the simulator predicts it)" in printed
    assert "40 at most; 16 to screen, 12 in pairs, 12 in pairs with 3" in printed
    assert "0:40:00 of arrivals at most" in printed
    assert "budget 1:00:00" in printed
    assert not root.exists()


class Proposer:
    """Proposes 8, 16 and 32 sequences."""

    def next(self, tune: Tune, scores: dict[int, list[float]]) -> Candidate | None:
        number = len(tune.candidates) - 1
        if number == 3:
            return None
        point = {"engine.max_num_seqs": str(8 << number)}
        return Candidate(point=point, origin="optuna")

    def still_possible(
        self, tune: Tune, scores: dict[int, list[float]]
    ) -> float | None:
        return None


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace runs by numbers: 16 sequences are 20% faster. Returns the runs."""
    made: list[str] = []

    def run(self: TuneRunner, point: dict[str, str], seed: int | None) -> Measurement:
        made.append(point.get("engine.max_num_seqs", ""))
        value = 120.0 if made[-1] == "16" else 100.0
        return Measurement(
            run=f"run{len(made)}",
            seconds=1.0,
            value=value + 0.1 * (len(made) % 3),
            figures={},
        )

    monkeypatch.setattr(TuneRunner, "run", run)
    monkeypatch.setattr(command, "_proposer", lambda *_: Proposer())
    return made


def test_the_command_writes_record_page_and_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], made_up: list[str]
) -> None:
    file = tmp_path / "tuned.yaml"
    given = [
        *(*COMMON, "engine.step_s=0.001", "max_num_seqs=8,16,32"),
        *(f"run.dir={tmp_path / 'tune'}", "--write", str(file)),
    ]
    assert command.main(given) == 0
    printed = capsys.readouterr().out
    line = next(text for text in printed.splitlines() if "95% interval" in text)
    assert line.startswith("max_num_seqs=16: +20.0% (95% interval +")
    assert "other seeds +2" in line
    found = json.loads((tmp_path / "tune" / "tune.json").read_text())
    assert found["result"]["point"] == {"engine.max_num_seqs": "16"}
    page = (tmp_path / "tune" / "tune.md").read_text()
    assert "| max_num_seqs=16 | optuna | 1 | 120" in page
    text = file.read_text()
    for words in ("95% interval", "commit", "source", "not made", "With other seeds"):
        assert words in text
    config = load_config([f"experiment_file={file}", *rest(COMMON)])
    assert config == load_config(
        [*COMMON, "engine.step_s=0.001", "engine.max_num_seqs=16"]
    )
    # The same command resumes: no run is left to make.
    count = len(made_up)
    assert command.main(given) == 0
    assert len(made_up) == count
    assert command.main([*given, "objective=samples_per_s"]) == 2
    assert "holds a campaign with other options (objective)" in capsys.readouterr().err


def test_nothing_better_is_exit_code_1_and_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], made_up: list[str]
) -> None:
    file = tmp_path / "tuned.yaml"
    given = [*COMMON, "max_num_seqs=8,32", f"run.dir={tmp_path}", f"--write={file}"]
    given.append("objective=latency_ms_p99")
    assert command.main(given) == 1
    assert "nothing better than the default" in capsys.readouterr().out
    assert not file.exists()


def test_the_experiment_of_the_campaign_is_in_the_file(tmp_path: Path) -> None:
    shared = [
        *("experiment=hopper_server", "scenario.target_qps=60"),
        *("engine.options.gpu_memory_utilization=0.9", "cluster.replicas=2"),
    ]
    point = {
        "engine.options.max_num_seqs": "512",
        "model.dtype": "bfloat16",
        "cluster.balancer": "round_robin",
        "engine.options.compilation_config.cudagraph_capture_sizes": "[1, 8]",
    }
    groups, tree = settings(shared, point)
    assert groups == {"engine": "vllm_hopper", "scenario": "server"}
    path = tmp_path / "x.yaml"
    text = "".join(f"  - override /{k}: {v}\n" for k, v in groups.items())
    path.write_text(f"defaults:\n{text}{yaml.safe_dump(tree)}")
    config = load_config([f"experiment_file={path}", *rest(shared)])
    assert config == load_config([*shared, *(f"{k}={v}" for k, v in point.items())])


def test_what_a_run_shows(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", 30.0, queries=200)
    passed = Verdict(
        outcome="passed", degraded=False, submission_candidate=False, relaxed=[]
    )
    write_json(folder.verdict, passed)
    limits = Limits(
        ttft_s=None, tpot_s=None, percentile=0.9, more=(Limit("tpot", 0.001, 0.9),)
    )
    path = folder.path
    speed = read_measurement(path, 0, 1.0, Objective("tokens_per_s"), limits)
    assert speed.value == speed.figures["tokens_per_s"]
    assert speed.load is not None
    assert speed.load == pytest.approx(speed.figures["tpot_ms_p90"])
    load = read_measurement(path, 0, 1.0, Objective("limit_load"), limits)
    assert load.value == speed.load
    none = read_measurement(path, 0, 1.0, Objective("limit_load"), None)
    assert none.reason == "the run has no limit_load"
    assert read_measurement(None, 3, 1.0, Objective("limit_load"), None).reason


@pytest.mark.integration
@pytest.mark.parametrize("gaussian", [False, True])
def test_optuna_proposes_what_is_allowed_once_each(gaussian: bool) -> None:
    knobs = [read_knob("a=1,2,3"), read_knob("b=x,y")]
    space = Space(
        knobs=[knob for knob in knobs if knob],
        allowed=lambda point: (point["a"], point["b"]) != ("3", "y"),
    )
    proposer = OptunaProposer(space=space, gaussian=gaussian)
    tune = Tune(
        shared=[],
        knobs=[],
        where=[],
        objective="tokens_per_s",
        better="higher",
        limits=[],
    )
    scores: dict[int, list[float]] = {0: [0.0]}
    while (found := proposer.next(tune, scores)) is not None:
        tune.candidates.append(found)
        tune.made.append(TuneRun(candidate=len(tune.made) + 1, phase="screen"))
        scores[len(tune.made)] = [0.01 * int(found.point["a"])]
    points = [tuple(candidate.point.values()) for candidate in tune.candidates[1:]]
    assert len(points) == len(set(points)) == 5
    bound = proposer.still_possible(tune, scores)
    assert (bound is not None and bound >= 0) if gaussian else bound is None


@pytest.mark.integration
def test_a_run_with_other_seeds_has_them(tmp_path: Path) -> None:
    options = parse([*SERVER, "run.min_queries=30", "max_num_seqs=8,64"])
    with Children() as children:
        runner = TuneRunner(
            children=children,
            root=tmp_path,
            shared=options.shared,
            objective=options.objective,
            limits=options.limits,
        )
        shown = runner.run({"engine.max_num_seqs": "8"}, 1234)
    assert shown.reason == ""
    assert shown.value is not None
    folder = RunFolder(tmp_path / (shown.run or ""))
    effective = read_json(folder.settings, SettingsRecord).effective
    assert effective["schedule_rng_seed"] == 1236
    assert effective["qsl_rng_seed"] == 1234


def test_a_knob_needs_a_number_of_runs_that_can_be_made() -> None:
    with pytest.raises(UserError, match="write runs=30 or more"):
        parse([*COMMON, "max_num_seqs=8,64", "runs=29"])
