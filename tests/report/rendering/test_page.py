from pathlib import Path

import pytest

from record.folder import RunFolder
from report.content import make_report
from report.reading.folder import read_run
from report.rendering.csv_tables import as_csv
from report.rendering.headline import headline
from report.rendering.page import render
from report.rendering.plots.latency import breakdown_plot, scatter_plot
from report.rendering.plots.symmetry import replica_plot
from report.rendering.words import shown
from tests.report.reading import codes, report_of
from tests.run_folder import (
    good_spec,
    replica_record,
    write_folder,
)

ROOT = Path(__file__).resolve().parents[2]


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
    folder.steps.write_bytes(b"")
    folder.forecast.write_text("{}")
    page = _page(folder)
    assert 'href="config.yaml"' in page
    assert 'href="steps.bin"' in page
    assert 'href="forecast.json"' in page
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


@pytest.mark.integration
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


@pytest.mark.integration
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
