import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from record.folder import write_json
from record.structs import DeviceLine
from report.__main__ import main
from report.compare.comparison import compare_sides
from report.compare.pages import as_text, render
from report.compare.result import Comparison
from report.reading.folder import read_run
from tests.run_folder import START_NS, FolderSpec, good_spec, write_folder

HOUR_NS = 3_600_000_000_000


def make_runs(
    root: Path,
    factors: list[float],
    first_hour: int = 0,
    every: int = 1,
    watts: float | None = None,
) -> list[Path]:
    """Write a run for each factor on the time that everything takes."""
    paths = []
    for number, factor in enumerate(factors):
        spec = good_spec(16)
        shift = (first_hour + number * every) * HOUR_NS
        for sample in spec.samples:
            assert sample.dispatched_ns is not None
            assert sample.completed_ns is not None
            sample.issued_ns += shift
            sample.dispatched_ns = _scaled(sample.dispatched_ns, factor) + shift
            sample.completed_ns = _scaled(sample.completed_ns, factor) + shift
        spec.log["result_tokens_per_second"] = 128 * 16 / (0.85 * factor)
        if watts is not None:
            spec.telemetry = [
                DeviceLine(
                    t_ns=START_NS + shift + 1,
                    node="n1",
                    replica=replica,
                    device=f"gpu{replica}",
                    power_w=watts,
                )
                for replica in range(2)
            ]
        paths.append(write_folder(root / f"run-{number}", spec).path)
    return paths


def _scaled(t_ns: int, factor: float) -> int:
    return START_NS + int((t_ns - START_NS) * factor)


def _set_option(folders: list[Path], old: str, new: str) -> None:
    for folder in folders:
        config = folder / "config.yaml"
        assert old in config.read_text()
        config.write_text(config.read_text().replace(old, new))


def compared(a: list[Path], b: list[Path], **options: Any) -> Comparison:
    sides = [[read_run(path) for path in side] for side in (a, b)]
    return compare_sides(sides[0], sides[1], 0.01, **options)


def measure(comparison: Comparison, name: str) -> Any:
    return next(one for one in comparison.measures if one.name == name)


def test_a_faster_side_is_better_in_rate_and_latency(tmp_path: Path) -> None:
    a = make_runs(tmp_path / "a", [1.0, 1.001, 0.999], 0, 2)
    b = make_runs(tmp_path / "b", [0.9, 0.901, 0.899], 1, 2)
    found = compared(a, b)
    assert found.design == "paired"
    rate = measure(found, "throughput")
    assert rate.is_main
    assert rate.outcome == "better"
    assert rate.ratio == pytest.approx(1 / 0.9, rel=1e-3)
    assert rate.low < 1 / 0.9 < rate.high
    latency = measure(found, "service latency mean")
    assert (latency.outcome, latency.ratio) == ("better", pytest.approx(0.9, rel=1e-3))
    assert found.conclusion[0].startswith("B is better than A beyond noise")
    assert "no difference between the sides" in found.conclusion[-1]


def test_equal_sides_with_noise_are_undecided_and_get_a_number_of_runs(
    tmp_path: Path,
) -> None:
    a = make_runs(tmp_path / "a", [1.0, 1.05, 0.97])
    b = make_runs(tmp_path / "b", [1.02, 0.96, 1.03], 3)
    found = compared(a, b)
    assert found.design == "unpaired"
    assert {one.outcome for one in found.measures} == {"undecided"}
    text = " ".join(found.conclusion)
    assert text.startswith("No difference beyond noise")
    needed = measure(found, "throughput").runs_for_smallest
    assert f"{needed - 3} more runs of each side would find a difference of 1%" in text


def test_equal_sides_without_noise_are_equal(tmp_path: Path) -> None:
    a = make_runs(tmp_path / "a", [1.0, 1.0001, 0.9999])
    b = make_runs(tmp_path / "b", [1.0, 1.0001, 0.9998], 3)
    found = compared(a, b)
    assert found.conclusion[0].startswith("A and B are equal within 1%")


def test_one_run_of_each_side_is_not_tested(tmp_path: Path) -> None:
    found = compared(
        make_runs(tmp_path / "a", [1.0]), make_runs(tmp_path / "b", [0.5], 1)
    )
    assert {one.outcome for one in found.measures} == {"not tested"}
    assert "three runs or more" in " ".join(found.conclusion)
    assert found.measures[0].low is None
    assert "-" in as_text(found)


def test_power_gives_tokens_per_joule(tmp_path: Path) -> None:
    a = make_runs(tmp_path / "a", [1.0, 1.001], 0, 1, watts=300.0)
    b = make_runs(tmp_path / "b", [1.0, 1.001], 5, 1, watts=240.0)
    found = compared(a, b)
    assert measure(found, "power").mean_a == 600.0
    energy = measure(found, "tokens per joule")
    assert energy.ratio == pytest.approx(1.25, rel=1e-3)
    assert energy.outcome == "better"
    assert measure(found, "power").outcome == "better"


def test_what_differs_is_listed(tmp_path: Path) -> None:
    a = make_runs(tmp_path / "a", [1.0, 1.001])
    b = make_runs(tmp_path / "b", [1.0, 1.001], 5)
    _set_option(b, "max_model_len: 2668", "max_model_len: 2000")
    for folder, digest in ((a[0], "1"), (b[0], "2")):
        write_json(folder / "source.json", {"sut/main.py": digest, "same.py": "0"})
    replicas = json.loads((b[0] / "replicas.json").read_text())
    for record in replicas:
        record["versions"] = {"python": "3.12"}
        record["engine"]["max_num_seqs"] = 128
        record["node"] = "n9"
    (b[0] / "replicas.json").write_text(json.dumps(replicas))
    found = {(one.kind, one.name): one for one in compared(a, b).differences}
    assert found["configuration", "model.max_model_len"].b == "2,000"
    assert found["versions", "python"].b == "3.11, 3.12"
    assert found["engine", "max_num_seqs"].a == "64"
    assert "sut/main.py" in found["code", "source files"].b
    assert found["hosts", "nodes"].a == "n1"


def test_files_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = make_runs(tmp_path / "a", [1.0, 1.01])
    b = make_runs(tmp_path / "b", [1.0, 1.02], 5)
    out = tmp_path / "out"
    sides = [*map(str, a), "--", *map(str, b)]
    assert main(["compare", *sides, "--out", str(out)]) == 0
    assert "95% interval" in capsys.readouterr().out
    written = json.loads((out / "comparison.json").read_text())
    assert len(written["measures"][0]["a"]) == 2
    page = (out / "comparison.html").read_text()
    assert "no difference beyond noise" in page.lower()
    assert "http" not in page
    assert "| throughput (main) |" in (out / "comparison.md").read_text()


def test_foreign_text_has_no_effect_on_the_page(tmp_path: Path) -> None:
    a, b = make_runs(tmp_path / "a", [1.0]), make_runs(tmp_path / "b", [1.0], 1)
    found = compared(a, b)
    found.notes = ["<script>alert(1)</script>", "**bold**"]
    assert "<script>" not in render("comparison.html", found)
    assert "**bold**" not in render("comparison.md", found)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give runs of both sides"),
        (["{a}", "{a2}", "{b}"], "give runs of both sides"),
        (["{a}", "--", "{a}"], "given twice"),
        (["{a}", "--", "{server}"], "scenario server cannot be compared with offline"),
        (["{a}", "--", "{data}"], "data set cnn_dailymail cannot be compared"),
        (["{a}", "{set}", "--", "{b}"], "the runs of side A must share their config"),
        (["{a}", "--", "{dead}"], "has no result to compare"),
        (["--paired", "{a}", "{a2}", "--", "{b}"], "give as many"),
        (["--smallest", "0", "{a}", "{b}"], "give a percentage"),
        (["{a}", "{b}", "--frobnicate"], "unrecognized arguments"),
        (["{a}", "--", "/none"], "no such run folder"),
    ],
)
def test_what_cannot_be_compared_gives_exit_2_and_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    paths = {
        name: make_runs(tmp_path / name, [1.0])[0]
        for name in ("a", "a2", "b", "data", "set", "dead")
    }
    spec = FolderSpec(scenario="server", streaming=True, samples=good_spec(4).samples)
    paths["server"] = write_folder(tmp_path / "server", spec).path
    _set_option([paths["data"]], "name: sample", "name: cnn_dailymail")
    _set_option([paths["set"]], "max_model_len: 2668", "max_model_len: 2000")
    (paths["dead"] / "verdict.json").unlink()
    given = [text.format(**paths) for text in arguments]
    assert main(["compare", *given]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert reason in captured.err


def test_design_follows_the_order_of_time(tmp_path: Path) -> None:
    # A B B A A B: each A has a B next to it.
    a = [make_runs(tmp_path / f"a{hour}", [1.0], hour)[0] for hour in (0, 3, 4)]
    b = [make_runs(tmp_path / f"b{hour}", [1.0], hour)[0] for hour in (1, 2, 5)]
    assert compared(a, b).design == "paired"
    assert compared(a, b, design="unpaired").design == "unpaired"
    assert compared(a, b[:2]).design == "unpaired"
    assert np.isfinite(compared(a, b).measures[0].ratio)
