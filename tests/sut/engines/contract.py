"""What every engine must do: inherit from this and give it an `engine` fixture.

Engines under test are built with `spec()`: answers of at most 12 tokens.
"""

import time

import numpy as np
import pytest

from record.steps import STEP
from sut.engines.base import Engine, RequestError
from sut.wire.messages import Completion, EngineSpec, FirstToken, Request

MAX_TOKENS = 12
VOCABULARY = 32_000


def spec(**changes: object) -> EngineSpec:
    """Return a spec for the engine under test."""
    values: dict[str, object] = {
        "engine": "synthetic",
        "model_path": "",
        "dummy_weights": False,
        "dtype": "float32",
        "max_model_len": 400,
        "gpus": 0,
        "streaming": True,
        "min_tokens": 1,
        "max_tokens": MAX_TOKENS,
        "ignore_eos": False,
        "stop_token_ids": [2],
        "seed": 0,
        "options": {},
    }
    return EngineSpec(**(values | changes))  # type: ignore[arg-type]


def request(seq: int, length: int = 40, attempt: int = 1) -> Request:
    """Return a request with a prompt of its own."""
    ids = np.random.default_rng(seq).integers(5, VOCABULARY, length)
    return Request(seq, attempt, ids.astype("<i4").tobytes())


def run(
    engine: Engine, *requests: Request
) -> tuple[list[FirstToken], list[Completion]]:
    """Answer the requests; return first tokens and answers in order of appearance."""
    for item in requests:
        engine.add(item)
    first: list[FirstToken] = []
    done: list[Completion] = []
    while engine.busy:
        begun, ended = engine.step()
        first += begun
        done += ended
    return first, done


class EngineContract:
    """Assertions that hold for every engine."""

    def test_is_idle_at_first(self, engine: Engine) -> None:
        assert not engine.busy
        assert engine.info.max_num_batched_tokens >= 1
        assert engine.stats().running == 0
        assert engine.lost_process() is None

    def test_every_request_is_answered_once(self, engine: Engine) -> None:
        first, done = run(engine, *(request(seq) for seq in range(9)))
        assert sorted(d.seq for d in done) == list(range(9))
        assert sorted(f.seq for f in first) == list(range(9))
        assert not engine.busy

    def test_an_answer_begins_with_its_first_token(self, engine: Engine) -> None:
        first, done = run(engine, *(request(seq) for seq in range(5)))
        tokens = {f.seq: f.token for f in first}
        for answer in done:
            assert len(tokens[answer.seq]) == 4
            assert answer.tokens.startswith(tokens[answer.seq])

    def test_no_answer_ends_before_it_begins(self, engine: Engine) -> None:
        for seq in range(5):
            engine.add(request(seq))
        begun: set[int] = set()
        while engine.busy:
            first, done = engine.step()
            begun |= {item.seq for item in first}
            assert {item.seq for item in done} <= begun
        assert begun == set(range(5))

    def test_answers_have_1_to_max_tokens_and_a_reason(self, engine: Engine) -> None:
        for answer in run(engine, *(request(seq) for seq in range(5)))[1]:
            count, rest = divmod(len(answer.tokens), 4)
            assert rest == 0
            assert 1 <= count <= MAX_TOKENS
            assert answer.finish_reason in ("length", "stop")
            if answer.finish_reason == "length":
                assert count == MAX_TOKENS

    def test_a_prescribed_length_is_kept(self, engine: Engine) -> None:
        """Whatever the limit of answers that end by themselves."""
        lengths = {1: 1, 2: 5, 3: MAX_TOKENS + 9}
        requests = [
            Request(seq, 1, request(seq).prompt, tokens)
            for seq, tokens in lengths.items()
        ]
        _, done = run(engine, *requests, request(4))
        found = {answer.seq: len(answer.tokens) // 4 for answer in done}
        assert 1 <= found.pop(4) <= MAX_TOKENS
        assert found == lengths
        assert {a.finish_reason for a in done if a.seq in lengths} == {"length"}

    def test_the_same_prompt_has_the_same_answer(self, engine: Engine) -> None:
        _, alone = run(engine, request(7))
        same = Request(8, 2, request(7).prompt)
        _, again = run(engine, same)
        assert again[0].tokens == alone[0].tokens
        assert (again[0].seq, again[0].attempt) == (8, 2)

    def test_nothing_comes_from_a_cache(self, engine: Engine) -> None:
        twice = [request(3, length=200), Request(4, 1, request(3, length=200).prompt)]
        for answer in run(engine, *twice)[1]:
            assert answer.cached_tokens in (0, None)

    def test_durations_are_measured(self, engine: Engine) -> None:
        answer = run(engine, request(1))[1][0]
        parts = [answer.queue_ns, answer.prefill_ns, answer.decode_ns]
        durations = [part for part in parts if part is not None]
        assert len(durations) == 3
        assert min(durations) >= 0
        assert sum(durations) > 0

    def test_steps_account_for_every_token(self, engine: Engine) -> None:
        engine.steps()
        begin_ns = time.monotonic_ns()
        lengths = {seq: 40 + 30 * seq for seq in range(9)}
        _, done = run(engine, *(request(n, length) for n, length in lengths.items()))
        data, missing = engine.steps()
        steps = np.frombuffer(data, STEP)
        assert missing == 0
        assert steps["prefill_tokens"].sum() == sum(lengths.values())
        # An answer's first token comes from the step that ends its prompt.
        tokens = sum(len(answer.tokens) // 4 for answer in done)
        assert steps["decode_sequences"].sum() == tokens - len(done)
        ends = steps["start_ns"] + steps["duration_ns"]
        assert steps["start_ns"][0] >= begin_ns
        assert (steps["start_ns"][1:] >= ends[:-1]).all()
        assert ends[-1] <= time.monotonic_ns()
        assert (steps["running"] >= steps["decode_sequences"]).all()
        assert (steps["running"] + steps["waiting"] <= len(lengths)).all()
        assert engine.steps() == (b"", 0)

    def test_a_prompt_that_is_too_long_is_refused_alone(self, engine: Engine) -> None:
        with pytest.raises(RequestError):
            engine.add(request(1, length=5000))
        assert [d.seq for d in run(engine, request(2))[1]] == [2]

    def test_requests_may_come_while_others_run(self, engine: Engine) -> None:
        engine.add(request(0))
        engine.step()
        assert sorted(d.seq for d in run(engine, request(1))[1]) in ([0, 1], [1])
