"""Step records of whole runs."""

from pathlib import Path

import numpy as np
import pytest

from record.steps import read_steps
from tests.integration.command import SYNTHETIC, run

pytestmark = pytest.mark.integration
STEP_S = 0.004


def test_steps_hold_all_that_the_samples_took(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        *SYNTHETIC,
        *("scenario=server", "scenario.target_qps=200", "run.min_queries=300"),
        *(f"engine.step_s={STEP_S}", "engine.decode_s_per_sequence=0"),
        "engine.prefill_s_per_token=0",
    )
    assert done.is_good, done.err
    steps = read_steps(done.folder.steps)
    for record in done.replicas:
        assert (record.steps_missing, record.steps_clock_error_ns) == (0, 0)
        own = steps[steps["replica"] == record.replica]
        samples = [s for s in done.samples if s.replica == record.replica]
        prompts = sum(s.prompt_tokens for s in samples)
        assert own["prefill_tokens"].sum() == prompts
        decoded = sum(s.output_tokens - 1 for s in samples)
        assert own["decode_sequences"].sum() == decoded
        ends = own["start_ns"] + own["duration_ns"]
        assert (np.diff(own["start_ns"]) > 0).all()
        assert (own["start_ns"][1:] >= ends[:-1]).all()
        assert own["duration_ns"].min() >= STEP_S * 1e9
        assert own["start_ns"].min() >= min(s.issued_ns for s in samples)
        last = max(s.completed_ns or 0 for s in samples)
        assert ends.max() <= last, "the last step, of which no answer is missing"
        assert last - ends.max() < 1e9


def test_a_run_without_steps(tmp_path: Path) -> None:
    done = run(tmp_path, *SYNTHETIC, "run.steps=false", "engine.step_s=0.0005")
    assert done.is_good, done.err
    assert not done.folder.steps.exists()
    assert {record.steps_missing for record in done.replicas} == {None}
