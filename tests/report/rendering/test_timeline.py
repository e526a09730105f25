"""What the report says of time: findings, recommendations, tables and the plot."""

from pathlib import Path

import jsonschema
import pytest

from report.build import write_report
from report.content import make_report
from report.reading.folder import read_run
from report.rendering.plots.timeline import timeline_plot
from tests.report.reading import Plain, codes, report_of, rows
from tests.report.schema import SCHEMA
from tests.report.timeline.recorded import recorded_run
from tests.run_folder import good_spec, write_folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    path: Path = tmp_path_factory.mktemp("page") / "run"
    return report_of(recorded_run(path))


@pytest.mark.integration
def test_the_recorded_run_says_why_it_failed(page: Plain) -> None:
    jsonschema.validate(page, SCHEMA)
    assert {"limits", "episode.host"} <= {*codes(page)}
    limits = next(f for f in page["findings"] if f["code"] == "limits")
    assert limits["severity"] == "critical"
    assert "5,457 of 31,937 requests" in limits["evidence"]
    assert "3,067 (56%) in the episode from 39 to 81 s on vm" in limits["evidence"]
    assert "burst of arrivals from 189 to 202 s" in limits["evidence"]
    assert "burst of arrivals from 268 to 303 s" in limits["evidence"]
    host = next(f for f in page["findings"] if f["code"] == "episode.host")
    assert host["where"] == ["vm"]
    for word in ("GPU utilization", "SM clock", "power", "replica's process"):
        assert word in host["evidence"]


@pytest.mark.integration
def test_the_recorded_run_ends_with_advice(page: Plain) -> None:
    by_code = {one["finding"]: one for one in reversed(page["recommendations"])}
    assert by_code["episode.host"]["estimate"]["value"] == 3067
    assert "scenario.target_qps" in by_code["limits"]["text"]
    assert "to confirm" in by_code["limits"]["text"]


@pytest.mark.integration
def test_tables_add_up(page: Plain) -> None:
    timeline = page["timeline"]
    (episode,) = rows(timeline["episodes"])
    assert episode["what changed"] == "GPU waited for its host"
    assert episode["late TTFT"] == 3067
    for limit in ("TTFT", "TPOT"):
        *parts, total = [r for r in rows(timeline["late"]) if r["limit"] == limit]
        assert total["part"] == "all"
        assert sum(part["late"] for part in parts) == total["late"]
    series = rows(timeline["series"])
    width = series[1]["time"] - series[0]["time"]
    arrived = sum(r["arrivals"] for r in series) * width
    assert arrived == pytest.approx(31937, rel=0.01)


def test_an_even_run_has_a_timeline_and_no_finding_of_it(tmp_path: Path) -> None:
    report = report_of(write_folder(tmp_path / "run", good_spec()))
    assert report["timeline"]["episodes"]["rows"] == []
    assert report["timeline"]["late"]["rows"] == []
    assert not {"limits"} & {*codes(report)}
    assert not [code for code in codes(report) if code.startswith("episode.")]


@pytest.mark.integration
def test_the_page_shows_the_timeline(tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "run")
    report = make_report([read_run(folder.path)])
    plot = timeline_plot(report.analysis)
    assert plot is not None
    assert "GPU waited for its host" in plot.svg()
    text = write_report(folder).read_text()
    assert '<section id="timeline"' in text
    assert "The run over time" in text
    assert (folder.path / "report" / "plots" / "timeline.png").exists()
