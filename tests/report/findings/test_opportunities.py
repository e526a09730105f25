"""What a run without a fault leaves unused, and what following advice takes."""

from pathlib import Path
from typing import Any

import pytest

from record.steps import header
from report.content import make_report
from report.findings.effort import effort_of
from report.reading.folder import read_run
from report.rendering.conclusion import conclusion
from tests.report.findings.example_opportunities import (
    BASE_S,
    PROMPT_TOKEN_S,
    SEQUENCE_S,
    even_offline,
)
from tests.report.reading import Plain, report_of


def _offline(path: Path, **change: Any) -> Plain:
    """Return the report of an even Offline run with these readings."""
    report = report_of(even_offline(path, **change))
    assert not [f for f in report["findings"] if f["severity"] != "note"]
    return report


def _advice(report: Plain, code: str) -> Plain | None:
    return next((r for r in report["recommendations"] if r["finding"] == code), None)


def test_a_file_without_a_step_is_no_error(tmp_path: Path) -> None:
    folder = even_offline(tmp_path / "run")
    folder.steps.write_bytes(header())
    assert _advice(report_of(folder), "opportunity.memory") is None


def test_unused_memory_gives_the_gain_of_a_larger_batch(tmp_path: Path) -> None:
    report = _offline(tmp_path / "run")
    advice = _advice(report, "opportunity.memory")
    assert advice is not None
    assert "max_num_seqs to about 144" in advice["text"]
    done = read_run(tmp_path / "run").done
    prompt, output = done.prompt_tokens.mean(), done.output_tokens.mean()

    def rate(sequences: float) -> float:
        tokens = sequences / output * prompt
        return float(
            sequences / (BASE_S + PROMPT_TOKEN_S * tokens + SEQUENCE_S * sequences)
        )

    wanted = 100 * (rate(60 * 0.9 / 0.4) / rate(60) - 1)
    assert advice["estimate"]["value"] == pytest.approx(wanted, rel=0.03)
    (finding,) = [f for f in report["findings"] if f["code"] == "opportunity.memory"]
    assert finding["severity"] == "note"
    assert f"{advice['estimate']['value']}%" in finding["impact"]


@pytest.mark.parametrize("change", [{"kv_used": 0.85}, {"steps": False}])
def test_no_gain_is_stated_that_the_record_does_not_show(
    change: Plain, tmp_path: Path
) -> None:
    report = _offline(tmp_path / "run", **change)
    assert _advice(report, "opportunity.memory") is None


@pytest.mark.parametrize(
    ("reasons", "code", "effort"),
    [
        (4, "opportunity.power", "with new hardware"),
        (0, "opportunity.clock", "now"),
    ],
)
def test_clocks_below_the_highest(
    reasons: int, code: str, effort: str, tmp_path: Path
) -> None:
    report = _offline(tmp_path / "run", kv_used=0.9, clock=1650, reasons=reasons)
    (advice,) = report["recommendations"]
    assert (advice["finding"], advice["effort"]) == (code, effort)
    assert advice["estimate"]["value"] == pytest.approx(20.0, abs=0.1)
    assert _offline(tmp_path / "top", kv_used=0.9)["recommendations"] == []


def test_the_conclusion_names_what_is_unused(tmp_path: Path) -> None:
    _offline(tmp_path / "run", kv_used=0.9, clock=1650, reasons=4)
    text = " ".join(conclusion(make_report([read_run(tmp_path / "run")])))
    assert "2 replicas on 1 node completed" in text
    assert "The run passed the gate." in text
    assert "No fault was found. What the run leaves unused: raise the power" in text
    assert "(estimated gain 20%; effort: with new hardware)" in text


@pytest.mark.parametrize(
    ("code", "effort"),
    [
        ("limits", "now"),
        ("slow.clock", "now"),
        ("slow.throttled", "this week"),
        ("episode.host", "this week"),
        ("pcie.link", "this week"),
        ("nvlink.down", "with new hardware"),
    ],
)
def test_what_advice_takes(code: str, effort: str) -> None:
    assert effort_of(code) == effort
