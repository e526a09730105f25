import json
from pathlib import Path

import numpy as np
import pytest

from record.loadgen_log import read_trace
from report.content import make_report
from report.reading.folder import read_run
from report.rendering.headline import headline
from report.sections.settings import setting
from tests.report.reading import report_of, row, rows
from tests.run_folder import START_NS, FolderSpec, good_spec, sample, write_folder


def _server(count: int = 400) -> FolderSpec:
    rng = np.random.default_rng(0)
    spec = FolderSpec(scenario="server", streaming=True)
    for seq in range(count):
        issued = START_NS + seq * 20_000_000
        first = issued + int(rng.lognormal(17, 0.5))
        spec.samples.append(
            sample(
                seq,
                seq % 2,
                issued_ns=issued,
                dispatched_ns=issued + 100_000,
                first_token_ns=first,
                completed_ns=first + int(rng.lognormal(20, 0.2)),
            )
        )
    spec.samples.sort(key=lambda s: s.completed_ns or 0)
    return spec


def _add_trace(spec: FolderSpec, path: Path, delay_ns: int) -> None:
    """Write LoadGen's trace, and what LoadGen would have logged from it."""
    lines, ttft, tpot, latency = ['{"traceEvents":['], [], [], []
    for s in spec.samples:
        ts = f"{s.seq * 20_000 + 0.5:.3f}"
        complete = (s.completed_ns or 0) - s.issued_ns + delay_ns
        first = (s.first_token_ns or 0) - s.issued_ns
        lines.append(
            f'{{"name":"Sample","cat":"default","ph":"b","pid":1,"id":{s.seq},'
            f'"ts":{ts},"args":{{"sample_seq":{s.seq},"query_seq":{s.seq},'
            f'"sample_idx":1,"issue_start_ns":{delay_ns},"complete_ns":{complete}}}}},'
        )
        lines.append(
            f'{{"name":"Token_Latency","ph": "C","pid":1,"ts":{ts},"args":'
            f'{{ "issue_delay":{delay_ns},"issue_to_done":{first}}}}},'
        )
        lines.append('{"name":"LogDetail","args":{"key":""loadgen_version""}},')
        latency.append(complete)
        ttft.append(first + delay_ns)
        tpot.append((complete - first - delay_ns) // (s.output_tokens - 1))
    path.write_text("\n".join(lines) + "\n")
    place = int(0.99 * len(latency))
    for key, values in (
        ("result_99.00_percentile_latency_ns", latency),
        ("result_first_token_99.00_percentile_latency_ns", ttft),
        ("result_time_per_output_token_99.00_percentile_ns", tpot),
    ):
        spec.log[key] = sorted(values)[place]


def test_percentiles_equal_loadgens_to_the_nanosecond_with_the_trace(
    tmp_path: Path,
) -> None:
    spec = _server()
    trace = tmp_path / "trace"
    _add_trace(spec, trace, 25_000)
    folder = write_folder(tmp_path / "run", spec)
    trace.rename(folder / "mlperf_log_trace.json")
    report = report_of(folder)
    found = [r for r in rows(report["validity"]["agreement"]) if r["unit"] == "ns"]
    assert len(found) == 3
    assert all(r["difference"] == 0 and r["agrees"] for r in found)
    stage = row(report["latency"]["breakdown"], stage="issue delay")
    assert stage["mean"] == 0.025
    off = json.loads(json.dumps(spec.log))
    key = "result_first_token_99.00_percentile_latency_ns"
    spec.log = off | {key: off[key] + 1}
    folder = write_folder(tmp_path / "off", spec)
    (tmp_path / "run" / "mlperf_log_trace.json").rename(
        folder / "mlperf_log_trace.json"
    )
    report = report_of(folder)
    assert row(report["validity"]["agreement"], figure=key)["agrees"] is False
    assert "disagreement" in [f["code"] for f in report["findings"]]


def test_without_the_trace_they_agree_within_the_issue_delay(tmp_path: Path) -> None:
    spec = _server()
    _add_trace(spec, tmp_path / "trace", 300_000)
    report = report_of(write_folder(tmp_path / "run", spec))
    found = [r for r in rows(report["validity"]["agreement"]) if r["unit"] == "ms"]
    assert len(found) == 3
    assert all(r["agrees"] for r in found)
    assert found[1]["difference"] > 0


def test_server_tokens_by_loadgens_denominator_and_by_last_completion(
    tmp_path: Path,
) -> None:
    spec = _server()
    straggler = next(s for s in spec.samples if s.seq == 100)
    straggler.completed_ns = START_NS + 30_000_000_000
    spec.samples.sort(key=lambda s: s.completed_ns or 0)
    last = next(s for s in spec.samples if s.seq == 399)
    span_s = ((last.completed_ns or 0) - START_NS) / 1e9
    spec.log["result_completed_tokens_per_second"] = round(400 * 128 / span_s, 2)
    report = report_of(write_folder(tmp_path / "run", spec))
    key = "result_completed_tokens_per_second"
    assert row(report["validity"]["agreement"], figure=key)["agrees"]
    assert report["scaling"]["tokens_per_s"]["value"] < 0.6 * 400 * 128 / span_s


def test_a_wrong_count_is_a_critical_finding(tmp_path: Path) -> None:
    spec = good_spec(64)
    spec.log["generated_samples_per_query"] = 65
    report = report_of(write_folder(tmp_path / "run", spec))
    assert report["validity"]["agrees_with_loadgen"]["value"] is False
    found = next(f for f in report["findings"] if f["code"] == "disagreement")
    assert found["severity"] == "critical"


def test_what_the_run_was_not(tmp_path: Path) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec()))
    text = report["validity"]["is_not"]["value"]
    assert "run=smoke" in text
    assert "synthetic" in text


def test_an_empty_trace_is_none(tmp_path: Path) -> None:
    assert read_trace(tmp_path / "none") is None
    (tmp_path / "empty").write_text("")
    assert read_trace(tmp_path / "empty") is None


def test_percentiles_and_rates_are_loadgens(tmp_path: Path) -> None:
    spec = _server(200)
    _add_trace(spec, tmp_path / "trace", 7_000_000)
    spec.log |= {
        "result_query_count": 200,
        "result_completed_samples_per_sec": 47.5,
        "result_completed_tokens_per_second": 6080.0,
    }
    folder = write_folder(tmp_path / "run", spec)
    report = report_of(folder)
    p99 = spec.log["result_first_token_99.00_percentile_latency_ns"]
    assert isinstance(p99, int)
    expected = pytest.approx(p99 / 1e6, rel=1e-4)
    latency = report["latency"]
    assert row(latency["limits"], limit="TTFT")["value"] == expected
    assert row(latency["loadgen"], kind="TTFT")["p99"] == expected
    # Without the trace a node's clock starts at the issue, under another name.
    assert "TTFT" not in [r["kind"] for r in rows(latency["nodes"])]
    (tmp_path / "trace").rename(folder / "mlperf_log_trace.json")
    nodes = report_of(folder)["latency"]["nodes"]
    assert row(nodes, kind="TTFT")["p99"] == expected
    tpot = spec.log["result_time_per_output_token_99.00_percentile_ns"]
    assert isinstance(tpot, int)
    assert row(nodes, kind="TPOT")["p99"] == pytest.approx(tpot / 1e6, rel=1e-4)
    cards = headline(make_report([read_run(folder.path)]))
    shown = {card.label: card.value for card in cards}
    assert shown["Completed samples/s"] == "47.5"


def test_durations_of_settings_are_in_seconds() -> None:
    assert setting("ttft_latency", 60_000_000_000) == "60 s"
    assert setting("tpot_latency", 40_000_000) == "40 ms"
    assert setting("min_duration_ms", 600_000) == "600 s"
    assert setting("min_query_count", 13368) == "13,368"
    assert setting("sample_concatenate_permutation", True) == "yes"
