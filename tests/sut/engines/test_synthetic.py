import numpy as np
import pytest

from sut.engines import synthetic
from sut.engines.base import Engine, RequestError
from sut.engines.synthetic import SyntheticEngine, synthetic_answer
from sut.wire.messages import Request
from tests.sut.engines.contract import MAX_TOKENS, EngineContract, request, run, spec

OPTIONS = {
    "step_s": 0.0,
    "prefill_s_per_token": 0.0,
    "decode_s_per_sequence": 0.0,
    "max_num_seqs": 4,
    "max_num_batched_tokens": 64,
    "output_tokens": MAX_TOKENS,
}


class TestSyntheticEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return SyntheticEngine(spec(options=OPTIONS, steps=True))


def test_answers_differ_between_prompts() -> None:
    answers = {synthetic_answer(request(seq).prompt, 128) for seq in range(2000)}
    assert len(answers) == 2000
    ids = np.frombuffer(next(iter(answers)), "<i4")
    assert ids.min() >= 3


class Clock:
    """Stands for the module `time`: only sleeping takes time."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_step_takes_as_long_as_its_model_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(synthetic, "time", clock := Clock())
    options = OPTIONS | {"step_s": 0.01, "prefill_s_per_token": 0.001}
    engine = SyntheticEngine(spec(options=options), slowdown=2.0)
    engine.add(request(0, length=20))
    engine.step()
    # Twice as slow as 10 ms and 1 ms for each of 20 prompt tokens.
    assert clock.now == pytest.approx(100.06)


def test_no_more_run_at_once_than_allowed() -> None:
    engine = SyntheticEngine(spec(options=OPTIONS | {"max_num_batched_tokens": 10_000}))
    for seq in range(10):
        engine.add(request(seq))
    engine.step()
    assert (engine.stats().running, engine.stats().waiting) == (4, 6)


def test_a_long_prompt_takes_several_steps() -> None:
    engine = SyntheticEngine(spec(options=OPTIONS))
    engine.add(request(0, length=200))
    steps = 0
    while not engine.step()[0]:
        steps += 1
    assert steps == 3


def test_bytes_that_are_no_ids_are_refused() -> None:
    engine = SyntheticEngine(spec(options=OPTIONS))
    with pytest.raises(RequestError):
        engine.add(Request(0, 1, b"abc"))


def test_offline_streams_nothing() -> None:
    engine = SyntheticEngine(spec(options=OPTIONS, streaming=False))
    first, done = run(engine, request(0))
    assert not first
    assert len(done) == 1
