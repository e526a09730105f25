"""Several models at once: plan, comparison, and what they compete for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import campaigns.corun.__main__ as command
from campaigns.corun.competition import competition
from campaigns.corun.options import parse
from campaigns.corun.plan import left, steps
from campaigns.corun.record import Corun, CorunRun, Workload
from campaigns.corun.signals import RunData, Signals, equal_work_ratio, figures
from record.folder import RunFolder
from record.steps import STEP, Steps
from record.structs import SampleRecord

TWO = ["chat:", "scenario=server", "batch:", "scenario=offline"]


def test_options_belong_to_all_or_to_one() -> None:
    options = parse(
        [
            *("repeats=2", "engine=synthetic", "chat:", "scenario=server"),
            *("cores=0-2,5", "batch:", "scenario=offline", "gpus=0,1"),
        ]
    )
    assert options.repeats == 2
    assert options.shared == ["engine=synthetic"]
    assert options.workloads == [
        Workload(name="chat", options=["scenario=server"], cores=[0, 1, 2, 5]),
        Workload(name="batch", options=["scenario=offline"], gpus="0,1"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chat:", "scenario=server"], "two workloads or more"),
        (["a:", "a:"], "a: the name is taken"),
        (["repeats=0", *TWO], "repeats=0: write a whole number from 1"),
        ([*TWO, "repeats=2"], "repeats=2: write it before the first NAME:"),
        (["seed=1", "seed=2", *TWO], "seed= is given twice"),
        ([*TWO, "gpus=0", "gpus=1"], "gpus= is given twice"),
        (["gpus=0", *TWO], "gpus=0: write it after the NAME:"),
        ([*TWO, "gpus="], "gpus=: write numbers or UUIDs"),
        ([*TWO, "cores=3-1"], "cores=3-1: write cores like"),
        ([*TWO, "core=1"], "unknown option core; did you mean cores="),
        ([*TWO, "engine.urls=x"], "batch: "),
        (["a:", "scenario=nope", "b:"], "a: scenario=nope: no such scenario"),
        (["--dry-run", "mode=accuracy", *TWO], "chat: mode=accuracy: a corun compares"),
        ([*TWO, "mode=compliance"], "batch: mode=compliance: a corun compares"),
        (["--dry-run", "run=full", *TWO], "chat: run=full"),
        (
            ["--dry-run", *TWO, "dataset=custom", "dataset.path=/no"],
            "batch: /no: No such",
        ),
        (
            ["--dry-run", *TWO, "model=custom", "model.path=/no"],
            "batch: model.path=/no",
        ),
    ],
)
def test_bad_input_ends_before_any_run(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_dry_run_lists_every_step(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["--dry-run", "repeats=2", *TWO, "cores=1"]) == 0
    out = capsys.readouterr().out
    assert "6 steps in 2 rounds" in out
    assert out.count("chat + batch") == 2
    assert "cores 1" in out
    assert list(tmp_path.iterdir()) == []


def test_cores_that_are_not_there_are_refused_before_any_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "corun"
    assert command.main([f"run.dir={root}", *TWO, "cores=999999"]) == 2
    assert "cores= has core 999999; this process may use" in capsys.readouterr().err
    assert not root.exists()


def _corun(repeats: int = 3, runs: list[CorunRun] | None = None) -> Corun:
    workloads = [Workload(name="chat"), Workload(name="batch")]
    return Corun(
        shared=[], workloads=workloads, repeats=repeats, seed=0, runs=runs or []
    )


def test_each_round_has_all_alone_and_all_together() -> None:
    found = list(steps(_corun()))
    wanted = sorted([["chat"], ["batch"], ["chat", "batch"]])
    for number in range(3):
        assert sorted(names for r, names in found if r == number) == wanted
    orders = {str([names for r, names in found if r == number]) for number in range(3)}
    assert len(orders) > 1


def test_only_what_is_missing_is_run() -> None:
    made = [
        CorunRun(round=0, workload=name, together=True, run=name, seconds=1.0)
        for name in ("chat", "batch")
    ]
    todo = left(_corun(repeats=1, runs=made))
    assert sorted(names for _, names in todo) == [["batch"], ["chat"]]


def test_another_corun_in_the_folder_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"shared": ["run=smoke"], "workloads": [], "repeats": 1, "seed": 0}
    (tmp_path / "corun.json").write_text(json.dumps(known))
    assert command.main([f"run.dir={tmp_path}", *TWO]) == 2
    assert "holds a corun with other options" in capsys.readouterr().err


def _sample(seq: int, issued_s: float, first_s: float, done_s: float) -> SampleRecord:
    def ns(seconds: float) -> int:
        return round((100 + seconds) * 1e9)

    return SampleRecord(
        seq=seq,
        qsl_index=seq,
        node="a",
        replica=0,
        attempt=1,
        issued_ns=ns(issued_s),
        dispatched_ns=ns(issued_s),
        first_token_ns=ns(first_s),
        completed_ns=ns(done_s),
        queue_ns=0,
        prefill_ns=0,
        decode_ns=0,
        prompt_tokens=10,
        output_tokens=11,
        finish_reason="length",
        cached_tokens=0,
        status="completed",
    )


def test_figures_are_of_the_common_time(tmp_path: Path) -> None:
    samples = [
        _sample(0, 0.0, 0.5, 1.0),
        _sample(1, 1.0, 1.2, 3.0),
        _sample(2, 3.0, 9.0, 10.0),
    ]
    data = RunData(
        folder=RunFolder(tmp_path), samples=samples, begin_ns=samples[0].issued_ns
    )
    assert data.length_s == 10
    found = figures(data, 2.0, streamed=True)
    # One sample has ended by then; two were issued, whose latencies count whole.
    assert found["tokens_per_s"] == pytest.approx(11 / 2)
    assert found["ttft_ms_p99"] == pytest.approx(500)
    assert found["tpot_ms_p99"] == pytest.approx(180)
    assert figures(data, 2.0, streamed=False).keys() == {"tokens_per_s"}


def _steps(decode_ms: float, prefill_ms: float, batch: int = 8) -> Steps:
    """Return 30 steps that decode and 10 that take in 512 prompt tokens."""
    found = np.zeros(40, STEP)
    found["decode_sequences"] = batch
    found["duration_ns"] = round(decode_ms * 1e6)
    found["prefill_tokens"][:10] = 512
    found["duration_ns"][:10] = round(prefill_ms * 1e6)
    return found


def test_only_steps_with_the_same_work_are_compared() -> None:
    quick, slow = _steps(10, 40), _steps(25, 44)
    assert equal_work_ratio(quick, slow, decode=True) == pytest.approx(2.5)
    assert equal_work_ratio(quick, slow, decode=False) == pytest.approx(1.1)
    # Longer since it has more to do: no comparison.
    assert equal_work_ratio(quick, _steps(25, 44, batch=32), decode=True) is None
    assert equal_work_ratio(quick, np.zeros(0, STEP), decode=True) is None


def _signals(**changes: Any) -> Signals:
    values: dict[str, Any] = {
        "nodes": frozenset({"a"}),
        "steps": _steps(10, 40),
        "host_cpu_pct": 40.0,
        "process_cpu_pct": 200.0,
        "kv_used": 0.3,
    }
    return Signals(**(values | changes))


GPU = frozenset({"a GPU-1"})
OTHER_GPU = frozenset({"a GPU-2"})
CORE = frozenset({"a 0"})


@pytest.mark.parametrize(
    ("alone", "together", "other", "resource", "evidence"),
    [
        (
            {"devices": GPU},
            {"devices": GPU, "steps": _steps(15, 60)},
            {"devices": GPU},
            "GPU",
            "all of them use a GPU-1; an engine step with the same work takes 1.50",
        ),
        (
            {"devices": GPU},
            {"devices": GPU, "steps": _steps(20, 44)},
            {"devices": GPU},
            "GPU, mostly its memory bandwidth",
            "2.00 times as long if it only decodes and 1.10 times",
        ),
        (
            {"devices": GPU},
            {"devices": GPU, "steps": _steps(10.2, 80)},
            {"devices": GPU},
            "GPU, mostly its compute",
            "2.00 times as long if it has prompt tokens",
        ),
        (
            {},
            {"steps": _steps(20, 80), "host_cpu_pct": 99.0, "process_cpu_pct": 100.0},
            {},
            "host CPU",
            "processors are 99% in use, alone 40%; the workload gets 1.00 cores, alone"
            " 2.00",
        ),
        (
            {"host_cpu_pct": 97.0},
            {"steps": _steps(20, 80), "host_cpu_pct": 99.0},
            {},
            "host CPU",
            "in use, alone 97%; other processes also keep them busy when the workload"
            " runs alone",
        ),
        (
            {"cores": CORE, "process_cpu_pct": 60.0},
            {"cores": CORE, "process_cpu_pct": 36.0, "steps": _steps(20, 80)},
            {"cores": CORE, "process_cpu_pct": 61.0},
            "cores that they share",
            "the workloads use 97% of 1 core; the workload gets 0.36 cores, alone 0.60",
        ),
        (
            {},
            {"steps": _steps(14, 44), "host_cpu_pct": 70.0},
            {},
            "memory bandwidth of the host",
            "70% in use, so cores are free",
        ),
        (
            {"cores": CORE},
            {"cores": CORE, "process_cpu_pct": 20.0, "steps": _steps(14, 44)},
            {"cores": CORE, "process_cpu_pct": 40.0},
            "memory bandwidth of the host",
            "40% in use, and the workloads use 60% of 1 core, so cores are free",
        ),
        (
            {"devices": GPU, "sm_clock_mhz": 1980.0},
            {"devices": GPU, "sm_clock_mhz": 1700.0, "steps": _steps(12, 48)},
            {"devices": OTHER_GPU},
            "power or cooling of the host",
            "run at 1700 MHz, alone at 1980 MHz",
        ),
        (
            {},
            {"kv_used": 0.98},
            {},
            "KV cache",
            "98% of it is in use, alone 30%",
        ),
        (
            {"servers": frozenset({"http://s:1"})},
            {"servers": frozenset({"http://s:1"})},
            {"servers": frozenset({"http://s:1"})},
            "server",
            "all of them send to http://s:1",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_planted_interference_is_named(
    alone: dict[str, Any],
    together: dict[str, Any],
    other: dict[str, Any],
    resource: str,
    evidence: str,
) -> None:
    found = competition(_signals(**alone), _signals(**together), [_signals(**other)])
    assert [one.resource for one in found] == [resource]
    assert evidence in found[0].evidence


@pytest.mark.parametrize(
    ("together", "other"),
    [
        # Same steps: it waits for something that the record does not show.
        ({}, {}),
        # GPUs of their own, clocks as alone, cores free.
        ({"devices": GPU, "steps": _steps(20, 80)}, {"devices": OTHER_GPU}),
        # Fuller, but far from full.
        ({"kv_used": 0.6}, {}),
        # No telemetry: nothing shows whether cores are free.
        ({"steps": _steps(20, 80), "host_cpu_pct": None}, {}),
        # Cores that they share, of which nobody recorded the use.
        (
            {"cores": CORE, "steps": _steps(20, 80)},
            {"cores": CORE, "process_cpu_pct": None},
        ),
        # A full processor that slows no step.
        ({"host_cpu_pct": 99.0}, {}),
    ],
)
def test_nothing_is_named_without_evidence(
    together: dict[str, Any], other: dict[str, Any]
) -> None:
    alone = {"devices": together["devices"]} if "devices" in together else {}
    assert not competition(_signals(**alone), _signals(**together), [_signals(**other)])


@pytest.mark.integration
def test_engines_that_share_a_device_are_found(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        *("repeats=1", f"run.dir={tmp_path / 'corun'}", "engine=synthetic"),
        *("dataset=synthetic", "dataset.count=60", "cluster.replicas=1"),
        *("engine.step_s=0.004", "engine.output_tokens=12"),
        *("engine.shared_device=planted", "engine.max_num_seqs=4"),
        *("chat:", "scenario=server", "scenario.target_qps=24", "run.min_queries=64"),
        *("batch:", "scenario=offline", "run.min_queries=240"),
    ]
    assert command.main(arguments) in (0, 1)
    found = json.loads((tmp_path / "corun" / "corun.json").read_text())
    assert len(found["runs"]) == 4
    assert all(run["measured"] for run in found["runs"])
    result = {one["workload"]: one for one in found["results"]}["chat"]
    assert result["slowed"]
    [named] = result["competes_for"]
    assert named["resource"].startswith("GPU")
    assert "planted" in named["evidence"]
    page = (tmp_path / "corun" / "corun.md").read_text()
    assert "## What they compete for" in page
    # Both clocks started together.
    begins = [
        json.loads((tmp_path / "corun" / run["run"] / "clock.json").read_text())
        for run in found["runs"]
        if run["together"]
    ]
    assert abs(begins[0]["begin_ns"] - begins[1]["begin_ns"]) < 2e9
    capfd.readouterr()
    assert command.main(arguments) in (0, 1)
    assert "== step" not in capfd.readouterr().err
