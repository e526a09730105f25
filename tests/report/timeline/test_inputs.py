"""What the analysis of time takes from a run folder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from record.steps import STEP, header
from record.structs import EventRecord
from report.content import make_report
from report.reading.folder import read_run
from report.timeline.analysis import analyze
from report.timeline.inputs import inputs_of
from tests.run_folder import good_spec, write_folder


@pytest.mark.parametrize("kind", ["fence", "death"])
def test_a_replica_lost_after_the_last_completion_is_away_for_no_time(
    kind: str, tmp_path: Path
) -> None:
    run = read_run(write_folder(tmp_path / "run", good_spec()).path)
    late = run.end_ns + 3_000_000_000
    event = EventRecord(t_ns=late, kind=kind, replica=1, cause="gone")  # type: ignore[arg-type]
    inputs = inputs_of(replace(run, events=[event]))
    (absence,) = inputs.absences
    assert absence.begin_s == absence.end_s == (late - run.begin_ns) / 1e9
    (episode,) = analyze(inputs).episodes
    assert episode.end_s >= episode.begin_s


def test_damaged_step_records_cost_only_what_they_show(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", good_spec())
    steps = np.zeros(3, STEP)
    steps["duration_ns"][1] = -1
    folder.steps.write_bytes(header() + steps.tobytes())
    report = make_report([read_run(folder.path)])
    (finding,) = [f for f in report.content.findings if f.code == "data"]
    assert "steps.bin is not used: record 1: duration_ns is -1" in finding.evidence
    assert finding.evidence.count("steps.bin") == 1
