from pathlib import Path

import numpy as np
import pytest

from record.steps import STEP, Steps
from sut.engines.step_model import FEWEST, ModelSlot, fit_step_model
from sut.wire.messages import StepModel

BLOCKS, BLOCK = 5000, 16
TRUE = StepModel(0.004, 12e-6, 15e-6, 25e-9)


def _steps(count: int, noise: float = 0.0) -> Steps:
    rng = np.random.default_rng(0)
    steps = np.zeros(count, STEP)
    steps["prefill_tokens"] = rng.integers(0, 4000, count)
    steps["decode_sequences"] = rng.integers(0, 300, count)
    steps["kv_blocks_free"] = rng.integers(0, BLOCKS, count)
    cached = (BLOCKS - steps["kv_blocks_free"].astype(float)) * BLOCK
    seconds = (
        TRUE.step_s
        + TRUE.prefill_s * steps["prefill_tokens"]
        + TRUE.decode_s * steps["decode_sequences"]
        + TRUE.cached_s * cached
    )
    seconds *= 1 + noise * rng.standard_normal(count)
    # Some steps of a cold engine, and pauses of the host.
    seconds[:10] += 2
    seconds[30::40] += 0.3
    steps["duration_ns"] = seconds * 1e9
    return steps


@pytest.mark.parametrize(("noise", "within"), [(0.0, 0.002), (0.03, 0.08)])
def test_the_model_is_found_beside_cold_steps_and_pauses(
    noise: float, within: float
) -> None:
    fitted = fit_step_model(_steps(400, noise), BLOCKS, BLOCK)
    assert fitted is not None
    model, error = fitted
    assert error <= noise + 1e-6
    for name in StepModel.__struct_fields__:
        assert getattr(model, name) == pytest.approx(getattr(TRUE, name), rel=within)


def test_too_few_steps_or_no_prompts_give_no_model() -> None:
    assert fit_step_model(_steps(FEWEST), BLOCKS, BLOCK) is None
    steps = _steps(400)
    steps["prefill_tokens"] = 0
    assert fit_step_model(steps, BLOCKS, BLOCK) is None


def test_a_model_reaches_another_process_whole(tmp_path: Path) -> None:
    writer, reader = ModelSlot(tmp_path / "slot"), ModelSlot(tmp_path / "slot")
    assert reader.get() is None
    writer.put(TRUE)
    assert reader.get() == TRUE
