"""Every sample gets its own answer, over several replicas."""

from pathlib import Path

import pytest

from conf.schema import DatasetConfig
from qsl.dataset import load_dataset
from record.loadgen_log import read_answers
from sut.engines.synthetic import synthetic_answer
from tests.integration.command import run

pytestmark = pytest.mark.integration
SAMPLES = 13_368


@pytest.mark.parametrize(
    "scenario", [["scenario=offline"], ["scenario=server", "scenario.target_qps=2000"]]
)
def test_each_index_has_its_own_tokens(tmp_path: Path, scenario: list[str]) -> None:
    done = run(
        tmp_path,
        "experiment=harness",
        "mode=accuracy",
        "engine.step_s=0.0002",
        "engine.prefill_s_per_token=0",
        "engine.decode_s_per_sequence=0",
        *scenario,
    )
    assert done.is_good, done.err
    config = DatasetConfig(name="synthetic", count=SAMPLES)
    dataset = load_dataset(config)
    answers = {a.qsl_index: a.tokens for a in read_answers(done.folder.accuracy_log)}
    assert sorted(answers) == list(range(SAMPLES))
    for index, tokens in answers.items():
        own = synthetic_answer(dataset.prompt(index).tobytes(), 128)
        assert tokens.tobytes() == own, f"index {index} has another's answer"
    assert len({s.replica for s in done.samples}) == 4
    indices = {s.seq: s.qsl_index for s in done.samples}
    logged = {a.seq: a.qsl_index for a in read_answers(done.folder.accuracy_log)}
    assert indices == logged
