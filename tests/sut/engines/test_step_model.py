from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from record.steps import STEP, Steps
from sut.engines.step_model import FEWEST, STRETCH, ModelSlot, fit_step_model
from sut.wire.messages import StepModel

BLOCKS, BLOCK = 5000, 16
TRUE = StepModel(0.004, 12e-6, 15e-6, 25e-9)


def _steps(
    count: int, noise: float = 0.0, late: float = 0.0, hold: int = STRETCH
) -> Steps:
    """Steps of the model above; `late` of each is counted in the step before it.

    Args:
        hold: steps that have the same tokens.
    """
    rng = np.random.default_rng(0)
    steps = np.zeros(count, STEP)

    def held(most: int) -> NDArray[np.int64]:
        return np.repeat(rng.integers(0, most, count // hold + 1), hold)[:count]

    steps["prefill_tokens"] = held(4000)
    steps["decode_sequences"] = held(300)
    steps["kv_blocks_free"] = held(BLOCKS)
    cached = (BLOCKS - steps["kv_blocks_free"].astype(float)) * BLOCK
    seconds = (
        TRUE.step_s
        + TRUE.prefill_s * steps["prefill_tokens"]
        + TRUE.decode_s * steps["decode_sequences"]
        + TRUE.cached_s * cached
    )
    seconds = (1 - late) * seconds + late * np.roll(seconds, -1)
    seconds *= 1 + noise * rng.standard_normal(count)
    # Some steps of a cold engine, and pauses of the host.
    seconds[:8] += 2
    seconds[30::80] += 0.3
    steps["duration_ns"] = seconds * 1e9
    return steps


@pytest.mark.parametrize(("noise", "within"), [(0.0, 0.002), (0.03, 0.08)])
def test_the_model_is_found_beside_cold_steps_and_pauses(
    noise: float, within: float
) -> None:
    fitted = fit_step_model(_steps(1600, noise), BLOCKS, BLOCK)
    assert fitted is not None
    model, error = fitted
    assert error <= noise + 1e-6
    for name in StepModel.__struct_fields__:
        assert getattr(model, name) == pytest.approx(getattr(TRUE, name), rel=within)


def test_a_step_that_ends_late_does_not_make_prompts_cheaper() -> None:
    fitted = fit_step_model(_steps(6000, 0.03, late=0.4, hold=1), BLOCKS, BLOCK)
    assert fitted is not None
    assert fitted[0].prefill_s == pytest.approx(TRUE.prefill_s, rel=0.08)


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
