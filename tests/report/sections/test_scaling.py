from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from record.folder import RunFolder, read_json, write_json
from record.structs import Check, SettingsRecord, Verdict
from report.statistics.sizes import (
    SizeResult,
    ratio_to_baseline,
    result_of_values,
)
from tests.report.reading import codes, report_of, row, rows
from tests.run_folder import START_NS, FolderSpec, good_spec, sample, write_folder


def _offline(path: Path, replicas: int, seconds: float, each: int = 64) -> RunFolder:
    """Write an Offline run of `each` samples for each replica that takes so long."""
    spec = good_spec(each * replicas, replicas)
    step = int(seconds * 1e9 / each)
    for record in spec.samples:
        place = record.seq // replicas
        record.dispatched_ns = START_NS + place * step
        record.completed_ns = START_NS + (place + 1) * step
    return write_folder(path, spec)


@pytest.mark.parametrize(
    ("seconds", "word"),
    [
        ((10.0, 10.1, 9.9), "linear within noise"),
        pytest.param((9.0, 9.03, 8.97), "super-linear", marks=pytest.mark.integration),
        pytest.param((12.0, 12.1, 11.9), "sub-linear", marks=pytest.mark.integration),
        ((9.0, 10.3, 9.8), "linear within noise"),
    ],
)
def test_the_verdict_goes_by_the_whole_interval(
    tmp_path: Path, seconds: tuple[float, ...], word: str
) -> None:
    base = [
        _offline(tmp_path / f"one{i}", 1, s) for i, s in enumerate((10.0, 10.1, 9.9))
    ]
    pair = [_offline(tmp_path / f"two{i}", 2, s) for i, s in enumerate(seconds)]
    report = report_of(*base, *pair)
    found = row(report["scaling"]["sizes"], metric="samples/s", replicas=2)
    assert found["verdict"] == word
    assert found["runs"] == 3
    assert found["from"] < found["efficiency"] < found["to"]
    expected = 100 * np.exp(
        np.mean(np.log((10.0, 10.1, 9.9))) - np.mean(np.log(seconds))
    )
    assert found["efficiency"] == pytest.approx(expected, rel=1e-3)
    assert report["scaling"]["efficiency"]["value"] == pytest.approx(expected, rel=1e-3)
    assert report["configuration"]["replicas"]["value"] == 2


def test_the_interval_is_welchs() -> None:
    a, b = np.array([1.0, 1.1, 0.95]), np.array([2.2, 2.0, 2.1, 2.15])
    reached = [
        SizeResult(
            size=size,
            values=v.tolist(),
            log_mean=float(np.log(v).mean()),
            error=float(np.log(v).std(ddof=1) / len(v) ** 0.5),
            freedom=len(v) - 1,
        )
        for size, v in ((1, a), (2, b))
    ]
    ratio = ratio_to_baseline(reached[1], reached[0], 2)
    test = stats.ttest_ind(np.log(b), np.log(a), equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert (ratio.low, ratio.high) == pytest.approx((np.exp(low) / 2, np.exp(high) / 2))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Three runs a size, noise of 0.4% from run to run, a true efficiency of 96.5%."""
    rng, truth, campaigns = np.random.default_rng(7), 0.965, 2000
    singles = np.exp(rng.normal(0.0, 0.004, (campaigns, 3)))
    pairs = 2 * truth * np.exp(rng.normal(0.0, 0.004, (campaigns, 3)))
    held = 0
    for single, pair in zip(singles.tolist(), pairs.tolist(), strict=True):
        ratio = ratio_to_baseline(
            result_of_values(2, pair), result_of_values(1, single), 2
        )
        held += ratio.low <= truth <= ratio.high
    # Welch's t is a little too wide for three runs a size.
    assert 0.94 < held / campaigns < 0.98


@pytest.mark.parametrize(
    ("runs", "each"), [(1, 64), (3, 32)], ids=["one run a size", "unequal samples"]
)
def test_what_cannot_show_its_noise_has_no_interval(
    tmp_path: Path, runs: int, each: int
) -> None:
    """Shorter runs pay more for their drain: their ratio is biased."""
    seconds = (10.0, 10.1, 9.9)[:runs]
    base = [_offline(tmp_path / f"one{i}", 1, s) for i, s in enumerate(seconds)]
    pair = [
        _offline(tmp_path / f"two{i}", 2, s * each / 64, each)
        for i, s in enumerate(seconds)
    ]
    sizes = report_of(*base, *pair)["scaling"]["sizes"]
    found = row(sizes, metric="samples/s", replicas=2)
    assert found["efficiency"] == pytest.approx(100, rel=1e-3)
    assert (found["from"], found["to"]) == (None, None)
    assert found["verdict"] == "interval unknown"


def test_lost_work_does_not_count(tmp_path: Path) -> None:
    base = _offline(tmp_path / "one", 1, 10.0)
    spec = good_spec(128, 2)
    step = int(10e9 / 64)
    for record in spec.samples:
        place = record.seq // 2
        record.dispatched_ns = START_NS + place * step
        record.completed_ns = START_NS + (place + 1) * step
        if record.replica == 1 and place >= 32:
            record.status, record.completed_ns, record.output_tokens = "lost", None, 0
    report = report_of(base, write_folder(tmp_path / "two", spec))
    assert report["scaling"]["efficiency"]["value"] == pytest.approx(75, rel=1e-3)
    losses = row(report["scaling"]["losses"], replicas=2)
    assert losses["both"] == pytest.approx(75, rel=1e-3)
    assert report["findings"][0]["code"] == "lost"


def _failed(name: str) -> Check:
    return Check(name=name, limit=0, value=1, outcome="failed", note="")


def _server(
    path: Path,
    replicas: int,
    rate: float,
    passed: bool,
    *,
    denser: float = 1.0,
    check: str = "loadgen_validity",
    log: dict[str, object] | None = None,
) -> RunFolder:
    spec = FolderSpec(
        scenario="server", streaming=True, replicas=replicas, log=log or {}
    )
    for seq in range(100):
        issued = START_NS + int(seq / (rate * denser) * 1e9)
        spec.samples.append(
            sample(
                seq,
                seq % replicas,
                issued_ns=issued,
                dispatched_ns=issued,
                first_token_ns=issued + 10_000_000,
                completed_ns=issued + 100_000_000,
            )
        )
    folder = write_folder(path, spec)
    settings = read_json(folder.settings, SettingsRecord)
    settings.effective["server_target_qps"] = rate
    write_json(folder.settings, settings)
    verdict = read_json(folder.verdict, Verdict)
    verdict.outcome = "passed" if passed else "failed"
    verdict.checks = [] if passed else [_failed(check)]
    write_json(folder.verdict, verdict)
    return folder


@pytest.mark.integration
def test_servers_value_is_the_highest_rate_that_keeps_the_limits(
    tmp_path: Path,
) -> None:
    kept = [(1, 10.0), (2, 19.0)]
    runs = [
        _server(tmp_path / f"{n}-kept{i}", n, rate, True)
        for n, rate in kept
        for i in range(3)
    ]
    # One run in two at a rate is not enough, nor is a single one.
    runs += [
        _server(tmp_path / "1-lucky", 1, 12.0, True),
        _server(tmp_path / "1-missed", 1, 14.0, False),
        _server(tmp_path / "2-once", 2, 25.0, True),
        _server(tmp_path / "2-missed", 2, 25.0, False),
    ]
    report = report_of(*runs)
    one = row(report["scaling"]["sizes"], metric="samples/s", replicas=1)
    two = row(report["scaling"]["sizes"], metric="samples/s", replicas=2)
    assert one["runs"] == two["runs"] == 3
    # 100 samples end 0.1 s after the last of them was issued.
    assert one["actual"] == pytest.approx(100 / (99 / 10 + 0.1), rel=1e-3)
    assert two["actual"] == pytest.approx(100 / (99 / 19 + 0.1), rel=1e-3)
    latency = row(report["scaling"]["sizes"], metric="latency", replicas=2)
    assert latency["efficiency"] == pytest.approx(100, rel=1e-3)


def _searched(path: Path, failed: dict[int, float], denser: float = 1.0) -> list[Path]:
    """Write runs that kept 10 queries/s with 1 and 19.5 with 2, and what failed."""
    runs = [
        _server(path / f"{n}-{i}", n, rate, True, denser=denser if n == 2 else 1.0)
        for n, rate in ((1, 10.0), (2, 19.5))
        for i in range(3)
    ]
    runs += [
        _server(path / f"{n}-failed", n, rate, False) for n, rate in failed.items()
    ]
    return [run.path for run in runs]


@pytest.mark.integration
def test_servers_interval_holds_what_the_search_left_open(tmp_path: Path) -> None:
    report = report_of(*_searched(tmp_path, {1: 10.5, 2: 21.0}))
    for name in ("queries/s", "samples/s", "tokens/s"):
        found = row(report["scaling"]["sizes"], metric=name, replicas=2)
        middle = found["efficiency"]
        assert found["from"] == pytest.approx(middle / 1.05, rel=1e-3)
        assert found["to"] == pytest.approx(middle * 21 / 19.5, rel=1e-3)
        assert found["verdict"] == "linear within noise"
    assert report["scaling"]["efficiency"]["value"] == pytest.approx(97.5, rel=1e-3)
    assert "queries/s" in report["scaling"]["efficiency"]["definition"]
    latency = row(report["scaling"]["sizes"], metric="latency", replicas=2)
    assert latency["from"] == latency["to"] == pytest.approx(100, rel=1e-3)


@pytest.mark.integration
@pytest.mark.parametrize("failed", [{}, {1: 10.5}, {2: 21.0}, {1: 9.9, 2: 21.0}])
def test_a_search_without_an_end_tells_no_interval(
    tmp_path: Path, failed: dict[int, float]
) -> None:
    report = report_of(*_searched(tmp_path, failed))
    found = row(report["scaling"]["sizes"], metric="queries/s", replicas=2)
    assert found["verdict"] == "interval unknown"


@pytest.mark.integration
def test_servers_efficiency_is_that_of_the_rates_that_came(tmp_path: Path) -> None:
    report = report_of(*_searched(tmp_path, {1: 10.5, 2: 21.0}, denser=1.04))
    assert report["scaling"]["efficiency"]["value"] == pytest.approx(101.4, rel=1e-3)
    second = row(report["scaling"]["runs"], run="2-0")
    assert (second["rate"], second["arrived"]) == pytest.approx((19.5, 20.28), rel=1e-3)


@pytest.mark.parametrize(
    ("denser", "scheduled", "title", "cause"),
    [
        (1.04, 10.4, "4.0% faster", "LoadGen draws"),
        (0.9, 9.9, "10.0% slower", "later than scheduled"),
        (0.9, None, "10.0% slower", "did not log"),
    ],
)
def test_arrivals_are_held_against_what_was_asked_for(
    tmp_path: Path, denser: float, scheduled: float | None, title: str, cause: str
) -> None:
    log: dict[str, object] = {}
    if scheduled is not None:
        log["result_scheduled_samples_per_sec"] = scheduled
    run = _server(tmp_path / "run", 1, 10.0, True, denser=denser, log=log)
    finding = next(f for f in report_of(run)["findings"] if f["code"] == "arrivals")
    assert finding["severity"] == "note"
    assert title in finding["title"]
    assert cause in finding["cause"]


def test_arrivals_near_what_was_asked_for_are_no_finding(tmp_path: Path) -> None:
    run = _server(tmp_path / "run", 1, 10.0, True, denser=0.99)
    assert "arrivals" not in codes(report_of(run))


@pytest.mark.integration
def test_only_a_missed_limit_ends_a_search(tmp_path: Path) -> None:
    kept = _searched(tmp_path, {1: 10.5})
    lost = _server(tmp_path / "lost", 2, 19.7, False, check="samples_lost")
    late = _server(tmp_path / "late", 2, 21.0, False)
    # Above a rate that passed once, a lower one that failed is no end.
    luck = [
        _server(tmp_path / "luck", 2, 20.5, True),
        _server(tmp_path / "bad-luck", 2, 20.0, False),
    ]
    sizes = report_of(*kept, lost)["scaling"]["sizes"]
    assert row(sizes, metric="queries/s", replicas=2)["to"] is None
    sizes = report_of(*kept, lost, late, *luck)["scaling"]["sizes"]
    found = row(sizes, metric="queries/s", replicas=2)
    assert found["to"] == pytest.approx(found["efficiency"] * 21 / 19.5, rel=1e-3)


@pytest.mark.integration
def test_one_known_end_may_be_enough(tmp_path: Path) -> None:
    low = [_server(tmp_path / f"low{i}", 2, 14.0, True) for i in range(3)]
    one = [_server(tmp_path / f"one{i}", 1, 10.0, True) for i in range(3)]
    missed = _server(tmp_path / "missed", 2, 14.7, False)
    report = report_of(*one, *low, missed)
    found = row(report["scaling"]["sizes"], metric="queries/s", replicas=2)
    assert found["verdict"] == "sub-linear"
    assert found["from"] is None
    poor = next(f for f in report["findings"] if f["code"] == "scaling.poor")
    assert "at most 73.5%" in poor["evidence"]


@pytest.mark.integration  # a bootstrap takes seconds
def test_a_law_takes_both_ends_of_what_a_search_left_open(tmp_path: Path) -> None:
    runs = [
        _server(tmp_path / f"{n}-{i}", n, 10.0 * n, True)
        for n in (1, 2, 4, 8)
        for i in range(3)
    ]
    runs += [_server(tmp_path / f"{n}-no", n, 10.8 * n, False) for n in (1, 2, 4, 8)]
    law = row(report_of(*runs)["scaling"]["law"], parameter="lambda")
    assert law["value"] == pytest.approx(10 * 1.08**0.5, rel=1e-2)
    assert law["to"] - law["from"] > 0.1


@pytest.mark.integration
def test_a_run_that_died_before_its_settings_leaves_the_scenario_known(
    tmp_path: Path,
) -> None:
    died = _server(tmp_path / "died", 1, 10.0, False)
    settings = read_json(died.settings, SettingsRecord)
    settings.loadgen_scenario, settings.effective = "", {}
    write_json(died.settings, settings)
    alone = report_of(died)["scaling"]
    assert row(alone["sizes"], metric="samples/s", replicas=1)
    assert "one query at a time" not in alone["efficiency"]["definition"]
    beside = report_of(died, *_searched(tmp_path, {1: 10.5, 2: 21.0}))["scaling"]
    assert "queries/s" in beside["efficiency"]["definition"]
    assert row(beside["sizes"], metric="queries/s", replicas=1)["runs"] == 3


def test_one_query_at_a_time_has_no_efficiency(tmp_path: Path) -> None:
    spec = good_spec(64, 1)
    spec.scenario = "singlestream"
    scaling = report_of(write_folder(tmp_path / "run", spec))["scaling"]
    assert scaling["efficiency"]["definition"].startswith("none: with one query")


def test_heterogeneous_replicas_are_named(tmp_path: Path) -> None:
    base = _offline(tmp_path / "one", 1, 10.0)
    records = base.replicas.read_text().replace(
        '"max_num_seqs": 64', '"max_num_seqs": 8'
    )
    base.replicas.write_text(records)
    report = report_of(base, _offline(tmp_path / "two", 2, 10.0))
    assert "scaling.heterogeneous" in codes(report)


@pytest.mark.integration  # a bootstrap takes seconds
def test_four_sizes_give_a_law_and_a_forecast(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    runs = [
        _offline(
            tmp_path / f"{n}-{i}", n, 10 * (1 + 0.05 * (n - 1)) * rng.normal(1, 0.004)
        )
        for n in (1, 2, 3, 4)
        for i in range(2)
    ]
    report = report_of(*runs)
    sigma = row(report["scaling"]["law"], parameter="sigma")
    assert sigma["value"] == pytest.approx(0.05, abs=0.02)
    ahead = rows(report["scaling"]["forecast"])
    assert [r["replicas"] for r in ahead] == [8, 16]
    assert ahead[0]["from"] < ahead[0]["samples/s"] < ahead[0]["to"]
    three = report_of(*runs[:6])
    assert "law" not in three["scaling"]
