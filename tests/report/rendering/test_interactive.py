"""The interactive timeline: its data, its one script, and names that do nothing."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from record.folder import RunFolder
from report.build import write_report
from report.content import make_report
from report.reading.folder import read_run
from report.rendering.interactive import digest, live_data, script
from report.rendering.page import render
from report.timeline.analysis import Analysis, analyze
from tests.report.timeline.simulator import even, simulate
from tests.run_folder import good_spec, replica_record, write_folder

EVIL = "</script><img src=x onerror=alert(1)><!--<b>&amp;"


class _Elements(HTMLParser):
    """Scripts with their attributes and text, and every other element's attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.policy = ""
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names.append(tag)
        self.handlers += [name for name in given if name.startswith("on")]
        if tag in ("img", "link", "script", "iframe", "use", "image"):
            self.addresses += [str(given[n]) for n in ("src", "href") if n in given]
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(given["content"])
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append((given, ""))

    def handle_data(self, data: str) -> None:
        if self._in_script:
            given, text = self.scripts[-1]
            self.scripts[-1] = (given, text + data)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    """Return the values that a page's script reads."""
    rows = [np.frombuffer(base64.b64decode(row), "<u2") for row in packed["rows"]]
    whole = np.array(rows, float)
    values = packed["low"] + (packed["high"] - packed["low"]) * whole / 0xFFFE
    return np.where(whole == 0xFFFF, np.nan, values)


def hostile(path: Path) -> RunFolder:
    """Return the folder of a run of two nodes with names that would like to act."""
    spec = good_spec()
    spec.records = [replica_record(0), replica_record(1)]
    for record in spec.records:
        record.node = EVIL
    return write_folder(path, spec)


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return analyze(simulate(even(3, replicas=3, seconds=30)))


def test_data_are_the_series(analysis: Analysis) -> None:
    data = json.loads(live_data(analysis) or "")
    assert data["replicas"] == analysis.inputs.names
    panels = {panel["label"]: panel for panel in data["panels"]}
    arrivals = analysis.series.arrivals
    found = unpacked(panels["requests/s"]["curves"])
    assert found[0] == pytest.approx(arrivals.sum(axis=0), abs=0.01)
    rows = unpacked(panels["ms per step"]["rows"])
    assert analysis.series.steps is not None
    steps = 1e3 * analysis.series.steps.step_s
    assert (np.isnan(rows) == np.isnan(steps)).all()
    assert np.nanmax(np.abs(rows - steps)) < 0.01


def test_512_replicas_are_a_megabyte(analysis: Analysis) -> None:
    series, inputs = analysis.series, analysis.inputs
    many, bins = 512, 300
    draw = np.random.default_rng(0)

    def grown(values: np.ndarray) -> np.ndarray:
        rows = np.resize(values, (many, bins)) + draw.normal(0, 1, (many, bins))
        return np.asarray(rows)

    wide = analyze(simulate(even(3, replicas=3, seconds=30)))
    for name in ("arrivals", "completions", "unanswered", "decoding", "step_s"):
        setattr(wide.series, name, grown(getattr(series, name)))
    for name in ("first_tokens", "outside_s"):
        setattr(wide.series, name, grown(getattr(series, name)))
    wide.series.gauges = {name: grown(v) for name, v in series.gauges.items()}
    steps = wide.series.steps
    assert steps is not None
    for name in ("step_s", "excess", "gap_pct"):
        setattr(steps, name, grown(getattr(steps, name)))
    wide.inputs.names = [f"replica {i}" for i in range(many)]
    wide.inputs.host = np.zeros(many, np.int64)
    wide.inputs.hosts = inputs.hosts
    text = live_data(wide)
    assert text is not None
    assert len(text) < 1_200_000
    data = json.loads(text)
    assert data["step"] > 1
    busy = next(p for p in data["panels"] if p["label"] == "%")
    rows = unpacked(busy["rows"])
    assert len(rows) == many
    groups = wide.series.gauge("utilization_pct")[:, : data["step"]]
    assert rows[:, 0] == pytest.approx(np.nanmean(groups, axis=1), abs=0.01)


def test_the_page_has_one_script_and_loads_nothing(tmp_path: Path) -> None:
    report = make_report([read_run(hostile(tmp_path / "run").path)])
    page = render("report.html", report, report.content.plain(), [], tmp_path)
    found = _Elements(page)
    (data, text), (code, ours) = found.scripts
    assert data == {"type": "application/json", "id": "timeline-data"}
    assert code == {}
    assert ours == script()
    assert found.policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
        f" script-src '{digest(ours)}'"
    )
    assert found.addresses == []
    assert found.handlers == []
    assert not {"img", "link", "iframe", "object"} & {*found.names}
    assert json.loads(text)["hosts"] == [EVIL, EVIL]
    for word in ("fetch(", "XMLHttpRequest", "import(", "eval(", "innerHTML ="):
        assert word not in ours
    assert "MIT License" in ours
    assert "<script" not in render("report.md", report, report.content.plain(), [])


@pytest.mark.integration
def test_a_browser_shows_it(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    page = write_report(hostile(tmp_path / "run"))
    address = f"{page.as_uri()}#timeline?from=1&to=2.5&replicas=1"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command = [browser, *options, f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=5000", address]
    shown = subprocess.run(command, capture_output=True, timeout=120).stdout.decode()
    place = re.search(r'<div id="live-timeline"[^>]*>', shown)
    assert place is not None
    assert 'data-from="1" data-to="2.5" data-replicas="1"' in place[0]
    assert "hidden" not in place[0]
    assert shown.count("<canvas") == shown.count('class="panel"') >= 3
    # The names are text, on both replicas.
    assert "<img" not in shown
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in shown
