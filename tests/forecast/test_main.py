import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from base.errors import UserError
from conf.clusters import BalancerName
from forecast import highest_rate, predict
from forecast.__main__ import main
from forecast.evidence import Evidence, read_evidence
from forecast.limits import Limits
from forecast.measures import measures
from forecast.predict import forecast
from forecast.request import make_target
from forecast.target import recorded_target, simulate, target_load
from record.folder import read_json, write_json
from record.steps import header
from record.structs import SettingsRecord
from tests.forecast.made_up import TRUE, write_run


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "r30", 30, queries=500).path


@pytest.fixture(autouse=True)
def _few_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "REPLICATES", 5)
    monkeypatch.setattr(highest_rate, "_SEEDS", 3)


@pytest.mark.integration
def test_a_run_at_another_rate_is_forecast(tmp_path: Path, recorded: Path) -> None:
    one = read_evidence(recorded)
    found = one.replicas[0].model.coefficients
    assert found[:2] == pytest.approx(TRUE[:2], rel=0.1)
    # Decoding sequences and cached tokens go together in this run.
    assert found[2] == pytest.approx(TRUE[2], rel=0.3)
    other = read_evidence(write_run(tmp_path / "r36", 36, queries=500).path)
    result = forecast([one], recorded_target(other))
    measured = measures(other.samples)
    assert set(result.figures) == set(measured)
    for name, truth in measured.items():
        error = abs(result.figures[name].value / truth - 1)
        assert error < (0.1 if name == "ttft_ms_p99" else 0.05), name
    inside = [
        estimate.low <= measured[name] <= estimate.high
        for name, estimate in result.figures.items()
    ]
    assert sum(inside) >= len(inside) - 2
    assert result.keeps_limits is None
    assert result.highest_rate is None


@pytest.mark.integration
def test_the_command_writes_what_it_prints(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["scenario.target_qps=33", "run.ttft_ms=100", "run.tpot_ms=25"]
    assert main([str(recorded), *options, "run.min_queries=200"]) == 0
    out = capsys.readouterr().out
    written = json.loads((recorded / "forecast.json").read_text())
    assert written["target_qps"] == 33
    assert written["queries"] == 200
    rate = written["highest_rate"]
    assert rate["low"] <= rate["value"] <= rate["high"]
    assert f"{rate['value']:,.2f}" in out
    assert f"{written['figures']['ttft_ms_p99']['value']:,.2f}" in out
    assert f"limits: {'kept' if written['keeps_limits'] else 'missed'}" in out
    assert written["models"][0]["per_step_s"] == pytest.approx(TRUE[0], rel=0.1)


@pytest.mark.integration
def test_the_highest_rate_is_where_limits_break(recorded: Path) -> None:
    evidence = read_evidence(recorded)
    options = ["run.ttft_ms=80", "run.tpot_ms=25", "run.min_queries=400"]
    target = make_target(evidence, options)
    assert target.limits == Limits(ttft_s=0.08, tpot_s=0.025, percentile=0.9)
    rate = forecast([evidence], target).highest_rate
    assert rate is not None
    for factor, keeps in ((0.97, True), (1.03, False)):
        tried = make_target(
            evidence, [*options, f"scenario.target_qps={rate.value * factor}"]
        )
        assert forecast([evidence], tried).keeps_limits is keeps


@pytest.mark.integration
def test_more_replicas_and_offline(recorded: Path) -> None:
    evidence = read_evidence(recorded)
    alone, four = (
        forecast([evidence], make_target(evidence, ["scenario=offline", *more]))
        for more in (
            ["run.min_queries=200"],
            ["run.min_queries=800", "cluster.replicas=4"],
        )
    )
    ratio = four.figures["samples_per_s"].value / alone.figures["samples_per_s"].value
    assert ratio == pytest.approx(4, rel=0.1)
    assert "ttft_ms_p99" not in four.figures
    assert alone.beyond, "64 sequences at once were never recorded"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["scenario.target_qp=3"], "did you mean scenario.target_qps?"),
        (["engine.max_num_seqs=8", "engine.options.max_num_seqs=9"], "is given twice"),
        (["scenario.target_qps=many"], "must be a number above 0"),
        (["cluster.replicas=0"], "must be a whole number above 0"),
        (["cluster.balancer=best"], "must be one of round_robin"),
        (["scenario=singlestream"], "a forecast has offline, server, interactive"),
        (["run.latency_percentile=99"], "must be between 0 and 1"),
        (["run.min_queries=3000000"], "at most 2,000,000 are simulated"),
    ],
)
def test_bad_options(
    recorded: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    problem: str,
) -> None:
    assert main([str(recorded), *arguments]) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert said.count("\n") == 1


def test_queries_of_a_huge_rate_are_not_drawn(recorded: Path) -> None:
    evidence = read_evidence(recorded)
    evidence.settings.kind = "full"
    evidence.settings.effective |= {
        "min_duration_ms": 600_000,
        "performance_sample_count_override": 13_368,
    }
    with pytest.raises(UserError, match=r"120,000,000 queries; at most"):
        make_target(evidence, ["scenario.target_qps=200000"])


def test_limits_that_any_rate_keeps_are_no_missed_limits(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = ["run.ttft_ms=60000", "run.tpot_ms=60000", "run.min_queries=20"]
    assert main([str(recorded), *wide]) == 0
    out = capsys.readouterr().out
    assert "limits: kept" in out
    assert "so few queries keep the limits at any rate" in out
    assert "no rate found" not in out


def test_bad_runs(
    tmp_path: Path, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert main(["scenario=server"]) == 2
    assert "no RUN given" in capsys.readouterr().err
    bare = write_run(tmp_path / "bare", 30, queries=20)
    settings = read_json(bare.settings, SettingsRecord)
    single = msgspec.structs.replace(settings, loadgen_scenario="SingleStream")
    write_json(bare.settings, single)
    assert main([str(bare.path)]) == 2
    assert "a run of SingleStream" in capsys.readouterr().err
    write_json(bare.settings, settings)
    bare.steps.write_bytes(header())
    assert main([str(bare.path)]) == 2
    assert "its engine recorded no steps" in capsys.readouterr().err
    bare.steps.unlink()
    assert main([str(bare.path)]) == 2
    assert "no steps.bin; make a run with run.steps=true" in capsys.readouterr().err


def test_adaptive_batching_is_simulated_by_the_limit_of_tpot(tmp_path: Path) -> None:
    path = write_run(tmp_path / "r30", 30, queries=300).path
    evidence = read_evidence(path)
    limit = ["run.tpot_ms=16"]
    found = {}
    for word in ("false", "true"):
        options = [*limit, f"engine.adaptive_batching={word}"]
        target = make_target(evidence, options)
        assert target.adaptive is (word == "true")
        found[word] = measures(simulate(evidence, target))
    # The rule counts on 128 tokens to make up for a long step; answers here have 30.
    assert found["true"]["tpot_ms_p90"] < 0.92 * found["false"]["tpot_ms_p90"]
    assert found["true"]["ttft_ms_p90"] > found["false"]["ttft_ms_p90"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["engine.adaptive_batching=true"], "needs a limit of TPOT"),
        (["engine.adaptive_batching=yes"], "must be true or false"),
    ],
)
def test_adaptive_batching_that_cannot_be(
    recorded: Path, options: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_target(read_evidence(recorded), options)


def test_answers_count_with_the_length_that_the_run_prescribed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", 30, queries=120)
    target = replace(recorded_target(read_evidence(folder.path)), replicas=3)

    def change(**fields: object) -> Evidence:
        settings = read_json(folder.settings, SettingsRecord)
        write_json(folder.settings, msgspec.structs.replace(settings, **fields))
        return read_evidence(folder.path)

    free = change(max_output_tokens=300)
    load = target_load(free, target)
    assert set(load.answer_limits) == {300}
    assert recorded_target(free).max_output_tokens == 300
    fixed = change(prescribed_lengths=True)
    load = target_load(fixed, target)
    assert load.answer_limits == load.outputs
    # The balancer counts them, so other replicas get the samples.
    policy = replace(target, balancer=BalancerName.least_outstanding_tokens)
    assert list(simulate(fixed, policy).done) != list(simulate(free, policy).done)
