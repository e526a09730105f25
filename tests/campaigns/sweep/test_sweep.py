"""Sweeps over the synthetic engine, and their points, tables and resumption."""

import csv
import json
from pathlib import Path

import pytest

from base.errors import UserError
from campaigns.sweep import __main__ as command
from campaigns.sweep.points import label, make_points, read_points, split_values
from campaigns.sweep.record import Sweep, SweepRun
from campaigns.sweep.result import pareto, point_results, write_results


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,3", ["1", "2", "3"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ("{a: 1, b: 2}", ["{a: 1, b: 2}"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("", [""]),
    ],
)
def test_commas_in_brackets_and_quotes_separate_no_values(
    text: str, values: list[str]
) -> None:
    assert split_values(text) == values


def test_a_grid_is_the_product_of_its_options_and_of_the_list() -> None:
    shared, points = make_points(
        ["scenario=server", "a.x=1,2", "a.y=[1,2],3"], [{"b": "u"}, {"b": "v"}]
    )
    assert shared == ["scenario=server"]
    assert len(points) == 8
    assert points[0] == {"b": "u", "a.x": "1", "a.y": "[1,2]"}
    assert label(points[-1]) == "b=v x=2 y=3"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["scenario=server"], "two points or more"),
        (["a=1,,2"], "a value is missing"),
        (["a=1,1"], "a value occurs twice"),
        ([f"a.{name}={','.join('123456789')}" for name in "vwxyz"], "at most 10,000"),
    ],
)
def test_grids_that_cannot_be(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_points(overrides, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1", "must be a list of mappings"),
        ("[]", "must be a list of mappings"),
        ("- 3", "entry 1 is not a mapping"),
        ("- {a: &x 1, b: *x}", "is not valid YAML"),
        ("- [", "is not valid YAML"),
    ],
)
def test_lists_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "points.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_points(path)


def test_a_list_holds_values_as_the_command_line_has_them(tmp_path: Path) -> None:
    path = tmp_path / "points.yaml"
    path.write_text("- {a: 1, b: [1, 2], c: true}\n- {a: null, d: x}\n")
    assert read_points(path) == [
        {"a": "1", "b": "[1, 2]", "c": "true"},
        {"a": "null", "d": "x"},
    ]


def _run(point: int, speed: float, tpot: float, repeat: int = 0) -> SweepRun:
    figures = {
        "samples_per_s": speed / 100,
        "tokens_per_s": speed,
        "tokens_per_s_per_device": speed,
        "ttft_ms_p99": 3 * tpot,
        "tpot_ms_p99": tpot,
    }
    return SweepRun(
        point=point,
        repeat=repeat,
        run=f"r{point}",
        seconds=2.0,
        valid=tpot < 50,
        reason="" if tpot < 50 else "too slow",
        figures=figures,
    )


def _sweep() -> Sweep:
    points = [{"scenario.target_qps": str(n), "e.b": "1"} for n in range(4)]
    runs = [_run(0, 100, 10), _run(1, 200, 30), _run(2, 150, 40), _run(3, 220, 60)]
    return Sweep(shared=[], points=points, repeats=2, seed=1, runs=runs)


def test_the_front_holds_no_point_that_another_one_beats() -> None:
    front = pareto(point_results(_sweep()), "tpot_ms_p99")
    assert [result.number for result in front] == [3, 1, 0]


def test_means_and_spread_are_those_of_the_repeats() -> None:
    sweep = _sweep()
    sweep.runs.append(_run(1, 220, 34, repeat=1))
    result = point_results(sweep)[1]
    assert result.figures["tokens_per_s_per_device"] == 210
    assert result.spread == pytest.approx(0.1)
    assert (result.runs, result.valid) == (2, 2)


def test_all_that_is_missing_is_run_each_round_in_an_order_of_its_own() -> None:
    sweep = _sweep()
    todo = command.left(sweep)
    assert sorted(todo) == [(1, 0), (1, 1), (1, 2), (1, 3)]
    sweep.runs.clear()
    orders = [[p for r, p in command.left(sweep) if r == repeat] for repeat in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


@pytest.mark.integration
def test_table_csv_and_plots_are_written(tmp_path: Path) -> None:
    table = write_results(tmp_path, _sweep())
    lines = table.splitlines()
    assert lines[2].startswith("| target_qps=3 b=1 | 2.2 | 220.0 |")
    assert lines[2].endswith("| 0 of 1 | TPOT p99, TTFT p99 |")
    rows = list(csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines()))
    assert [row["scenario.target_qps"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[3]["reason"] == "too slow"
    for name in ("latency_throughput", "pareto"):
        assert "<svg" in (tmp_path / f"{name}.svg").read_text()
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid"], "options are written KEY=VALUE"),
        (["repeats=0", "a=1,2"], "repeats=0: write a whole number from 1 to 9,999"),
        (["budget_s=x", "a=1,2"], "budget_s=x: write a number above 0"),
        (["a=1,2", "a=3"], "a= is given twice; give it once"),
        (["cluster.replicas=1,0"], "point replicas=0: cluster.replicas is 0"),
        (["engine=synthetic", "engine.step=1,2"], "point step=1: "),
        (["points=/nowhere"], "points=/nowhere: No such file"),
    ],
)
def test_bad_input_ends_before_any_run(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert command.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_another_sweep_in_the_folder_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.json").write_text(
        json.dumps({"shared": [], "points": [{"a": "1"}], "repeats": 1, "seed": 0})
    )
    assert command.main([f"run.dir={tmp_path}", "cluster.replicas=1,2"]) == 2
    assert "holds a sweep with other options" in capsys.readouterr().err


@pytest.mark.integration
def test_a_sweep_stops_at_its_budget_and_is_resumed(tmp_path: Path) -> None:
    arguments = [
        *("engine=synthetic", "dataset=synthetic", "dataset.count=50"),
        *("model=llama3_1-8b_dummy", "scenario=server", "engine.step_s=0.001,0.003"),
        *("scenario.target_qps=50", "run.min_queries=64", "cluster.replicas=1"),
        f"run.dir={tmp_path / 'sweep'}",
    ]
    assert command.main([*arguments, "budget_s=1"]) == 1
    found = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert len(found["runs"]) == 1
    assert command.main(arguments) == 0
    found = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert sorted(run["point"] for run in found["runs"]) == [0, 1]
    tpot = [
        run["figures"]["tpot_ms_p50"]
        for run in sorted(found["runs"], key=lambda run: run["point"])
    ]
    assert tpot[0] < tpot[1]
    assert "step_s=0.003" in (tmp_path / "sweep" / "sweep.md").read_text()
