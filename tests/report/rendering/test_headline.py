from pathlib import Path

from record.campaign import Campaign, CampaignRun, CampaignSize
from report.content import make_report
from report.reading.folder import read_run
from report.rendering.headline import Card, headline, sizes_of
from tests.report.findings.examples import RUNS
from tests.run_folder import good_spec, write_folder


def _cards(path: Path, scenario: str, **log: object) -> list[Card]:
    spec = good_spec(400)
    spec.scenario, spec.streaming = scenario, scenario != "offline"
    spec.log |= log
    return headline(make_report([read_run(write_folder(path, spec).path)]))


def test_offline_shows_the_rate_and_what_limits_it(tmp_path: Path) -> None:
    makers = {codes: make for make, codes in RUNS}
    run = makers["batch.starved",](tmp_path / "run")
    cards = {card.label: card for card in headline(make_report([run]))}
    assert [*cards][:3] == ["Samples/s", "Output tokens/s", "Limited by"]
    assert cards["Limited by"].value == "supply of samples"
    assert "16% full" in cards["Limited by"].note


def test_server_shows_limits_with_headroom(tmp_path: Path) -> None:
    log = {
        "result_first_token_99.00_percentile_latency_ns": 1_500_000_000,
        "result_time_per_output_token_99.00_percentile_ns": 110_000_000,
    }
    cards = {card.label: card for card in _cards(tmp_path / "run", "server", **log)}
    assert cards["TTFT p99"].note == "limit 2,000 ms, headroom 25%"
    assert cards["TTFT p99"].status == "good"
    assert cards["TPOT p99"].note == "limit 100 ms, headroom -10%"
    assert cards["TPOT p99"].status == "critical"


def test_single_stream_shows_its_percentile_first(tmp_path: Path) -> None:
    log = {"result_90.00_percentile_latency_ns": 1_234_000_000}
    cards = _cards(tmp_path / "run", "singlestream", **log)
    speeds = [card for card in cards if card.status != "critical"]
    assert (speeds[0].label, speeds[0].value) == ("Latency p90", "1,234")


def test_a_campaign_shows_its_sizes_and_no_run(tmp_path: Path) -> None:
    runs = []
    for size in (1, 2):
        for turn in range(2):
            spec = good_spec(64 * size, size)
            del spec.log["result_tokens_per_second"]
            for record in spec.samples:
                record.dispatched_ns = record.issued_ns
                record.completed_ns = record.issued_ns + (
                    (record.seq // size + 1) * (100 + turn) * 1_000_000
                )
            folder = write_folder(tmp_path / f"{size}-{turn}", spec)
            runs.append(read_run(folder.path))
    campaign = Campaign(
        kind="scaling",
        command=[],
        scenario="offline",
        started="2026-11-27T12:00:00Z",
        status="not good",
        sizes=[
            CampaignSize(replicas=1, runs=2),
            CampaignSize(replicas=2, runs=2),
            CampaignSize(replicas=4, reason="no replica became ready"),
        ],
        runs=[
            CampaignRun(run=run.name, replicas=run.size, phase="repeat") for run in runs
        ],
    )
    report = make_report(runs, campaign=campaign)
    cards = headline(report)
    assert [card.label for card in cards] == [
        "Campaign",
        "Throughput, 1 replica",
        "Throughput, 2 replicas",
        "4 replicas",
        "Scaling efficiency, 2 replicas",
    ]
    assert cards[0].value == "incomplete"
    assert cards[3].note == "no replica became ready"
    assert cards[4].value == "100.0"
    assert sizes_of(report) == "1, 2, 4 replicas"
