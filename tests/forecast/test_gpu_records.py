"""Step records of an H200, kept in benchmarks/records."""

import lzma

import numpy as np
import pytest

from base.files import ROOT
from forecast.step_time import StepTime, fit_step_time
from record.steps import Steps, read_steps

RECORDS = ROOT / "benchmarks" / "records" / "2026-11_h200_full_length"
SMALL = [1, 2, 4, 8, *range(16, 257, 16), *range(288, 513, 32), *range(576, 1025, 64)]
GRAPHS = {
    "interactive_1536": [*SMALL, 1280, 1536],
    "interactive_adaptive": [*SMALL, 1280, 1536, 1792, 2048],
    "server": [*SMALL, 1280, 1536, 1792, 2048],
    "offline": [1, 8, 64, 256, 512, 768, 1024],
}
BLOCK = 16


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Steps]:
    folder = tmp_path_factory.mktemp("records")
    found = {}
    for name in GRAPHS:
        path = folder / f"{name}.bin"
        path.write_bytes(
            lzma.decompress((RECORDS / f"{name}.steps.bin.xz").read_bytes())
        )
        found[name] = np.array(read_steps(path))
    return found


def _fitted(steps: Steps, graphs: list[int]) -> StepTime:
    tokens = int(steps["kv_blocks_free"].max()) * BLOCK
    return fit_step_time(steps, tokens, BLOCK, graphs)


@pytest.mark.parametrize("name", GRAPHS)
def test_records_agree_on_what_a_prompt_token_costs(
    steps: dict[str, Steps], name: str
) -> None:
    per_token_s = _fitted(steps[name], GRAPHS[name]).coefficients[1]
    assert per_token_s == pytest.approx(12.9e-6, rel=0.06)


def test_a_step_larger_than_the_recorded_ones_is_foreseen(
    steps: dict[str, Steps],
) -> None:
    model = _fitted(steps["interactive_adaptive"], GRAPHS["interactive_adaptive"])
    server = steps["server"]
    full = server[
        (server["prefill_tokens"] + server["decode_sequences"] == 5120)
        & (server["waiting"] > 0)
    ]
    tokens = int(server["kv_blocks_free"].max()) * BLOCK
    decode = int(full["decode_sequences"].mean())
    cached = tokens - int(full["kv_blocks_free"].mean()) * BLOCK
    found = model.duration_s(5120 - decode, decode, 6, cached)
    assert found == pytest.approx(full["duration_ns"].mean() / 1e9, rel=0.06)
