import json
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from conf.load import load_config, to_yaml
from record.campaign import NAME, Campaign, CampaignRun, CampaignSize
from record.errors import RecordError
from record.folder import RunFolder, write_json
from report.build import write_report
from report.content import KEYS, make_report
from report.reading.config import differences, read_config
from report.reading.folder import read_run
from report.rendering.csv_tables import as_csv
from report.rendering.headline import headline
from report.rendering.page import render
from report.rendering.plots.latency import breakdown_plot, scatter_plot
from report.rendering.plots.symmetry import replica_plot
from report.rendering.words import shown
from report.schema import SCHEMA
from report.statistics.numbers import bits
from tests.report.reading import Plain, codes, report_of, rows
from tests.run_folder import (
    START_NS,
    FolderSpec,
    good_spec,
    replica_record,
    sample,
    write_folder,
)

ROOT = Path(__file__).resolve().parents[2]


def run_report(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m report` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "report", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_figure_has_value_unit_and_definition(tmp_path: Path) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec()))
    assert tuple(report) == KEYS
    jsonschema.validate(report, SCHEMA)
    for key in KEYS:
        if not isinstance(report[key], dict):
            continue
        for name, item in report[key].items():
            if "columns" in item:
                assert all(len(r) == len(item["columns"]) for r in item["rows"]), name
            else:
                assert item["definition"], name


@pytest.mark.integration
def test_the_schema_refuses_what_is_not_a_report(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    good = report_of(write_folder(tmp_path / "run", good_spec()))
    without_unit = json.loads(json.dumps(good))
    del without_unit["scaling"]["tokens_per_s"]["unit"]
    without_key = {k: v for k, v in good.items() if k != "validity"}
    odd_word = json.loads(json.dumps(good))
    odd_word["findings"] = [
        {"code": "a", "severity": "bad", "title": "b", "evidence": "c", "cause": "d"}
    ]
    for broken in (without_unit, without_key, odd_word):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_throughput_is_completed_work_over_wall_time(tmp_path: Path) -> None:
    scaling = report_of(write_folder(tmp_path / "run", good_spec(64)))["scaling"]
    wall_s = 63 * 0.05 + 0.1
    assert scaling["samples_per_s"]["value"] == pytest.approx(64 / wall_s, rel=1e-3)
    assert scaling["tokens_per_s"]["value"] == pytest.approx(
        64 * 128 / wall_s, rel=1e-3
    )
    assert scaling["efficiency"]["value"] is None


@pytest.mark.integration
def test_the_files(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    html = write_report(folder).read_text()
    outside = html.replace("http://www.w3.org/", "")
    assert "http://" not in outside
    assert "https://" not in outside
    assert "<script" not in html
    plots = sorted((folder / "report/plots").iterdir())
    assert {p.suffix for p in plots} == {".svg", ".png"}
    assert html.count("<svg") == len(plots) / 2 >= 5
    for plot in plots:
        if plot.suffix == ".svg":
            ET.fromstring(plot.read_text())
        else:
            assert plot.read_bytes().startswith(b"\x89PNG")
    report = json.loads((folder / "report.json").read_text())
    for key in KEYS:
        for name, item in report[key].items() if isinstance(report[key], dict) else ():
            if "columns" in item:
                table = (folder / f"report/tables/{key}.{name}.csv").read_text()
                assert table.count("\n") == len(item["rows"]) + 1, name
    markdown = (folder / "report.md").read_text()
    for plot in (folder / "report/plots").glob("*.png"):
        assert f"(report/plots/{plot.name})" in markdown
    # A second time must give the same files: the report is a function of the folder.
    before = {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}
    write_report(folder)
    assert {p: p.read_bytes() for p in before} == before


def test_an_empty_run_still_has_a_report(tmp_path: Path) -> None:
    spec = good_spec(2)
    spec.samples = []
    folder = write_folder(tmp_path / "run", spec)
    assert report_of(folder)["tokens"]["output_tokens"]["value"] == 0
    assert write_report(folder).exists()


@pytest.mark.integration
def test_a_run_of_one_replica(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec(64, replicas=1))
    report = report_of(folder)
    assert rows(report["symmetry"]["summary"]) == []
    assert [c for c in codes(report) if c.startswith("slow")] == []
    assert write_report(folder).exists()


@pytest.mark.parametrize("name", ["telemetry.jsonl", "events.jsonl"])
def test_what_is_missing_becomes_a_note(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    (folder / name).unlink()
    note = next(f for f in report_of(folder)["findings"] if f["code"] == "data")
    assert name in note["evidence"]


def test_what_was_switched_off_is_no_finding(tmp_path: Path) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec()))
    assert report["findings"] == []
    assert "trace is off" in report["validity"]["notes"]["value"]


@pytest.mark.parametrize("name", ["samples", "events", "telemetry"])
def test_a_last_line_cut_off_becomes_a_note(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    path = folder / f"{name}.jsonl"
    path.write_bytes(path.read_bytes() + b'{"seq":1,"q')
    note = next(f for f in report_of(folder)["findings"] if f["code"] == "data")
    assert f"{name}.jsonl was cut off" in note["evidence"]


@pytest.mark.integration
@pytest.mark.parametrize(
    "keep", [["config.yaml"], ["config.yaml", "settings.json", "samples.jsonl"]]
)
def test_an_aborted_run_has_a_report_with_a_note(
    tmp_path: Path, keep: list[str]
) -> None:
    whole = write_folder(tmp_path / "run", good_spec())
    folder = tmp_path / "aborted"
    folder.mkdir()
    for name in keep:
        shutil.copy(whole / name, folder / name)
    # Without replicas.json samples belong to nobody, so none may be left.
    if "samples.jsonl" in keep:
        shutil.copy(whole / "replicas.json", folder / "replicas.json")
    report = report_of(folder)
    assert report["findings"][0]["code"] == "aborted"
    note = next(f for f in report["findings"] if f["code"] == "data")
    assert "verdict.json is missing" in note["evidence"]
    assert write_report(RunFolder(folder)).exists()


def test_samples_without_their_replicas_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    for name in ("replicas.json", "verdict.json"):
        (folder / name).unlink()
    with pytest.raises(RecordError, match=r"samples.jsonl:1: .*which is missing"):
        report_of(folder)


def test_a_damaged_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such run folder"):
        write_report(RunFolder(tmp_path / "none"))
    with pytest.raises(RecordError, match=r"not a run folder: it has no config\.yaml"):
        write_report(RunFolder(tmp_path))
    folder = write_folder(tmp_path / "run", good_spec())
    whole = folder.config.read_bytes()
    for config in (b"a: 1", b"\xe9", whole[: len(whole) // 3], b"{"):
        folder.config.write_bytes(config)
        with pytest.raises(RecordError, match=r"config\.yaml"):
            write_report(folder)
    folder.config.write_bytes(whole)
    folder.replicas.write_text("[{}]")
    with pytest.raises(RecordError, match=r"replicas\.json"):
        write_report(folder)


def _damage(folder: RunFolder, name: str, line: int, text: bytes) -> None:
    lines = (folder / name).read_bytes().splitlines(True)
    lines[line - 1] = text + b"\n"
    (folder / name).write_bytes(b"".join(lines))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("samples.jsonl", b"not json"),
        ("samples.jsonl", b'{"seq": "three"}'),
        ("telemetry.jsonl", b"\xff\xfe"),
        ("mlperf_log_detail.txt", b":::MLLOG {broken"),
    ],
)
def test_damage_gives_exit_2_with_file_and_line(
    tmp_path: Path, name: str, text: bytes
) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    _damage(folder, name, 3, text)
    finished = run_report(folder.path)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert len(finished.stderr.splitlines()) == 1
    assert f"{name}:3: " in finished.stderr


@pytest.mark.integration
def test_bad_input_gives_exit_2_and_one_line(tmp_path: Path) -> None:
    offline = write_folder(tmp_path / "a", good_spec()).path
    spec = FolderSpec(scenario="server", streaming=True, samples=[sample(0)])
    server = write_folder(tmp_path / "b", spec).path
    ratings = tmp_path / "ratings.json"
    ratings.write_text('{"X": {"flops": 1}}')
    stranger = good_spec(8)
    stranger.samples[4].replica = 7
    odd = write_folder(tmp_path / "c", stranger).path
    for arguments, told in (
        ([tmp_path / "none"], "no such run folder"),
        ([offline, server], "one scenario"),
        ([offline, offline], "given twice"),
        ([offline, "--devices", ratings], "ratings.json"),
        ([odd], "samples.jsonl:5"),
    ):
        finished = run_report(*arguments)
        assert finished.returncode == 2, told
        assert told in finished.stderr
        assert len(finished.stderr.splitlines()) == 1


@pytest.mark.integration
def test_a_folder_below_a_file_is_bad_input(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec()).path
    (tmp_path / "file").write_text("")
    finished = run_report(folder, "--out", tmp_path / "file" / "x")
    assert finished.returncode == 2
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.integration
def test_twenty_thousand_samples_take_seconds(tmp_path: Path) -> None:
    spec: Plain = {"count": 20_000, "replicas": 16}
    folder = write_folder(tmp_path / "run", good_spec(**spec))
    begin = time.process_time()  # of this process, however busy the machine is
    report_of(folder)
    assert time.process_time() - begin < 5


SYNTHETIC = ["engine=synthetic", "engine.step_s=0.001"]
SERVER = ["scenario=server"]


def _configured(path: Path, *changes: str) -> Path:
    folder = write_folder(path, good_spec())
    folder.config.write_text(to_yaml(load_config([*SYNTHETIC, *changes])))
    return path


@pytest.mark.integration
@pytest.mark.parametrize(
    ("shared", "change", "named"),
    [
        ([], "engine.step_s=0.02", "engine.step_s: 0.001, 0.02"),
        ([], "dataset.path=other.json", "dataset.path: "),
        ([], "dataset.prompt_tokens=200", "dataset.prompt_tokens: None, 200"),
        ([], "mode=accuracy", "mode: performance, accuracy"),
        (SERVER, "run.ttft_ms=7", "run.ttft_ms: 60000.0, 7"),
        ([], "cluster.balancer=round_robin", "cluster.balancer: None, round_robin"),
    ],
)
def test_runs_of_different_experiments_are_not_averaged(
    tmp_path: Path, shared: list[str], change: str, named: str
) -> None:
    one = _configured(tmp_path / "one", *shared)
    other = _configured(tmp_path / "other", *shared, change)
    finished = run_report(one, other)
    assert finished.returncode == 2
    assert named in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_sizes_of_a_campaign_may_differ_in_rate_and_number(tmp_path: Path) -> None:
    one = read_config(_configured(tmp_path / "one") / "config.yaml")
    changes = (
        "cluster.replicas=2",
        "scenario.target_qps=7",
        "run.min_queries=9",
        "run.min_duration_s=5",
        "run.dir=elsewhere",
        "cluster.load_timeout_s=7",
    )
    other = read_config(_configured(tmp_path / "other", *changes) / "config.yaml")
    assert one.options != other.options
    assert differences(one, other) == []


def _campaign(root: Path, count: int) -> Path:
    names = [f"run-{number}" for number in range(count)]
    for name in names:
        write_folder(root / name, good_spec())
    root.mkdir(exist_ok=True)
    record = Campaign(
        kind="scaling",
        command=[],
        scenario="offline",
        started="2026-11-27T12:00:00Z",
        status="good",
        sizes=[CampaignSize(replicas=2, runs=count)],
        runs=[CampaignRun(run=name, replicas=2, phase="repeat") for name in names],
    )
    write_json(root / NAME, record)
    return root


@pytest.mark.integration
def test_a_campaigns_folder_stands_for_its_runs(tmp_path: Path) -> None:
    root = _campaign(tmp_path / "campaign", 3)
    assert run_report(root).returncode == 0
    report = json.loads((root / "report.json").read_text())
    jsonschema.validate(report, SCHEMA)
    assert [r["phase"] for r in rows(report["scaling"]["runs"])] == ["repeat"] * 3
    page = (root / "report.html").read_text()
    assert "<title>scaling campaign of 2026-11-27T12:00:00Z, 2 replicas" in page
    empty = run_report(_campaign(tmp_path / "empty", 0))
    assert empty.returncode == 2
    assert "the campaign made no run" in empty.stderr


def test_masks_of_bits_of_any_driver_are_whole_numbers() -> None:
    # Drivers that know no reasons say NaN; a mask of 64 set bits is one too.
    values = np.array([np.nan, 4.0, -1.0, 2.0**64, np.inf])
    assert bits(values).tolist() == [0, 4, 0, 0, 0]


@pytest.mark.parametrize("seconds", [0.2, 5.0])
def test_one_query_in_a_block_of_time_gives_no_warning(
    tmp_path: Path, seconds: float
) -> None:
    """Warnings are errors in tests: some blocks of time have no completion."""
    spec = good_spec(60, 1)
    spec.scenario, spec.streaming = "singlestream", True
    for one in spec.samples:
        long = seconds if one.seq == 30 else 0.1
        begin = START_NS + int((one.seq + (seconds * 10 if one.seq > 30 else 0)) * 1e8)
        one.issued_ns = one.dispatched_ns = begin
        one.first_token_ns = begin + 10_000_000
        one.completed_ns = begin + int(long * 1e9)
    report = report_of(write_folder(tmp_path / "run", spec))
    assert rows(report["scaling"]["sizes"])


def _page(folder: RunFolder, name: str = "report.html") -> str:
    report = make_report([read_run(folder.path)])
    return render(name, report, report.content.plain(), [], folder.path)


def test_a_damaged_record_shows_nothing_green(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    whole = folder.samples.read_bytes().splitlines(True)
    folder.samples.write_bytes(b"".join(whole[:50:2]))
    report = make_report([read_run(folder.path)])
    content = report.content.plain()
    assert content["findings"][0]["code"] == "disagreement"
    assert "idle.replica" not in codes(content)
    assert content["validity"]["state"]["value"] == "record disagrees"
    assert content["symmetry"]["success_rate"]["value"] == 39.062
    assert content["symmetry"]["success_status"]["value"] == "critical"
    cards = headline(report)
    assert cards[0].status == "critical"
    assert "LoadGen issued 64" in cards[0].note
    assert not {"perfect", "good"} & {card.status for card in cards}
    top = _page(folder).partition("<section")[0]
    assert "none lost" not in top
    assert "pill passed" not in top


def test_a_run_that_failed_says_so_in_its_first_card(tmp_path: Path) -> None:
    spec = good_spec()
    spec.log["result_validity"] = "INVALID"
    report = make_report([read_run(write_folder(tmp_path / "run", spec).path)])
    assert (headline(report)[0].value, headline(report)[0].status) == (
        "failed",
        "critical",
    )


def test_one_replica_has_no_sections_that_compare(tmp_path: Path) -> None:
    page = _page(write_folder(tmp_path / "one", good_spec(64, replicas=1)))
    assert 'id="symmetry"' not in page
    assert 'id="scaling"' not in page
    assert "Nothing to tell" not in page
    assert "1 replicas" not in page
    assert "1 nodes" not in page
    assert 'id="symmetry"' in _page(write_folder(tmp_path / "two", good_spec()))


def test_the_page_links_to_the_files_of_the_run(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    page = _page(folder)
    assert 'href="config.yaml"' in page
    assert 'href="samples.jsonl"' in page
    assert 'href="user.conf"' not in page
    elsewhere = make_report([read_run(folder.path)])
    page = render(
        "report.html", elsewhere, elsewhere.content.plain(), [], tmp_path / "out"
    )
    assert 'href="../run/config.yaml"' in page


EVIL = "<b>|`x`[y](http://e)\x1b[31m$a^{$b"


def test_foreign_names_do_not_act(tmp_path: Path) -> None:
    spec = good_spec()
    spec.records = [replica_record(0), replica_record(1)]
    for record, name in zip(spec.records, (EVIL, "=HYPERLINK(1)"), strict=True):
        record.node = name
    folder = write_folder(tmp_path / "run", spec)
    markdown = _page(folder, "report.md")
    assert "<b>" not in markdown
    assert "\x1b" not in markdown
    assert "[y](http" not in markdown
    table = report_of(folder)["symmetry"]["nodes"]
    assert "\n'=HYPERLINK(1)," in as_csv(table)
    assert as_csv({"columns": table["columns"][:1], "rows": [[-1.5]]}).endswith(
        "-1.5\n"
    )


def test_dollar_signs_in_names_are_no_mathematics(tmp_path: Path) -> None:
    spec = good_spec()
    spec.records = [replica_record(0), replica_record(1)]
    for record in spec.records:
        record.node = "a$x^{$b"
    run = read_run(write_folder(tmp_path / "run", spec).path)
    plot = replica_plot(run, [])
    assert plot is not None
    assert "a$x^{$b" in plot.svg()


@pytest.mark.integration
def test_axes_write_numbers_as_tables_do(tmp_path: Path) -> None:
    spec = good_spec()
    for record in spec.samples:
        record.completed_ns = (record.dispatched_ns or 0) + 12_000_000_000
    plot = scatter_plot(read_run(write_folder(tmp_path / "run", spec).path), [])
    assert plot is not None
    assert "12,000" in plot.svg()


def test_stages_keep_their_colors(tmp_path: Path) -> None:
    colors = []
    for streaming in (False, True):
        spec = good_spec()
        spec.scenario = "server" if streaming else "offline"
        run = read_run(write_folder(tmp_path / spec.scenario, spec).path)
        plot = breakdown_plot(run)
        assert plot is not None
        (axes,) = plot.canvas.axes
        colors.append(
            {bar.get_label(): bar[0].get_facecolor() for bar in axes.containers}
        )
    assert colors[0]["decode"] == colors[1]["decode"]
    assert "wait for dispatch" in colors[1]


def test_figures_of_several_parts_read_as_sentences() -> None:
    peak = {"value": 4.428, "seq": 61, "replica": 0, "node": "vm"}
    assert (
        shown({"value": peak, "unit": "tokens/s"})
        == "4.428 tokens/s: sample 61, replica 0 on vm"
    )
    lengths = {"min": 9, "mean": 110.2, "p50": 128.0, "p90": 128.0, "max": 128}
    assert (
        shown({"value": lengths, "unit": "tokens"})
        == "9 to 128 tokens: mean 110.2, median 128, p90 128"
    )
    assert shown({"value": 1, "unit": "replicas"}) == "1 replica"
