"""The budget on an engine that takes exactly, or nearly, as long as the model says."""

from collections.abc import Sequence

import numpy as np
import pytest

from sut.engines.prefill_budget import PrefillBudget
from sut.engines.step_model import padded
from sut.wire.messages import StepModel

MODEL = StepModel(0.003, 13e-6, 11e-6, 0.0)
LIMIT_S, TOKENS, MOST, PROMPT = 0.03, 128, 8192, 800


def _tpots(
    budget: PrefillBudget,
    per_second: float,
    seconds: float,
    error: float = 1.0,
    graph_sizes: Sequence[int] = (),
) -> tuple[list[float], list[float]]:
    """Return TPOT and TTFT of each answer; steps take `error` times the model's time.

    Args:
        budget: under test.
        per_second: requests that arrive, evenly.
        seconds: during which they arrive.
        error: of the model.
        graph_sizes: of the engine, which pads its steps to them.
    """
    arrivals = np.arange(0, seconds, 1 / per_second)
    now, came = 0.0, 0
    waiting: list[list[float]] = []
    decoding: dict[str, list[float]] = {}
    tpot, ttft = [], []
    while came < len(arrivals) or waiting or decoding:
        while came < len(arrivals) and arrivals[came] <= now:
            waiting.append([float(came), PROMPT])
            came += 1
        if not waiting and not decoding:
            now = float(arrivals[came])
            continue
        room = budget.tokens(now, len(decoding), 0) - len(decoding)
        assert room + len(decoding) <= MOST
        prefill, first = 0, []
        while waiting and prefill < room:
            taken = min(room - prefill, int(waiting[0][1]))
            waiting[0][1] -= taken
            prefill += taken
            if not waiting[0][1]:
                first.append(int(waiting.pop(0)[0]))
        budget.scheduled(now, prefill, len(decoding), 0, [str(n) for n in first])
        computed = padded(prefill + len(decoding), graph_sizes) - len(decoding)
        work_s = 0.003 + 13e-6 * computed + 11e-6 * len(decoding)
        now += error * work_s
        budget.ended(now)
        ended = []
        for name, state in decoding.items():
            state[1] += 1
            if state[1] == TOKENS:
                ended.append(name)
                tpot.append((now - state[0]) / (TOKENS - 1))
        budget.finished(ended)
        for name in ended:
            del decoding[name]
        for number in first:
            decoding[str(number)] = [now, 1]
            ttft.append(now - arrivals[number])
    return tpot, ttft


def _budget(limit_s: float = LIMIT_S) -> PrefillBudget:
    return PrefillBudget(MODEL, limit_s, TOKENS, MOST)


@pytest.mark.parametrize("error", [0.85, 1.0, 1.15])
def test_where_prompts_wait_tpot_ends_just_inside_the_limit(error: float) -> None:
    tpot, _ = _tpots(_budget(), per_second=200, seconds=4, error=error)
    assert len(tpot) == 800
    full = sorted(tpot)[len(tpot) // 4 :]
    assert 0.94 * LIMIT_S < float(np.median(full)) < 1.005 * LIMIT_S
    assert max(tpot) < 1.02 * LIMIT_S


def test_steps_are_as_large_as_a_cuda_graph() -> None:
    sizes = [256, 512, 1024, 1280, 1536, 1792, 2048]
    ends, tpots = [], []
    for known in ([], sizes):
        budget = PrefillBudget(MODEL, 0.028, TOKENS, 2048, known)
        tpot, ttft = _tpots(budget, per_second=85, seconds=6, graph_sizes=sizes)
        ends.append(max(ttft))
        tpots.append(max(tpot))
    # The last request waits much less: no step computes what it pads.
    assert ends[1] < 0.7 * ends[0]
    assert max(tpots) < 0.028


def test_rounding_leaves_prompt_tokens_and_what_no_graph_holds() -> None:
    budget = PrefillBudget(MODEL, 0.004, TOKENS, MOST, [128, 256])
    budget.scheduled(0.0, 800, 0, 0, ["a"])
    budget.ended(0.5)
    assert budget.tokens(2.0, 130, 0) > 130
    assert PrefillBudget(MODEL, LIMIT_S, TOKENS, MOST, [64]).tokens(0, 0, 0) == MOST


def test_an_idle_engine_takes_in_all_it_can() -> None:
    assert _budget().tokens(0.0, 0, 0) == MOST


def test_a_looser_limit_serves_waiting_prompts_sooner() -> None:
    tight = _tpots(_budget(0.02), per_second=80, seconds=2)
    loose = _tpots(_budget(0.1), per_second=80, seconds=2)
    assert max(tight[0]) < 0.0203
    assert max(loose[0]) < 0.1
    assert np.percentile(loose[1], 99) < 0.5 * np.percentile(tight[1], 99)


def test_prompts_go_on_where_decoding_alone_exceeds_the_limit() -> None:
    budget = _budget(0.004)
    budget.scheduled(0.0, 800, 0, 0, ["a"])
    budget.ended(0.5)
    for _ in range(50):
        assert 200 < budget.tokens(2.0, 200, 0) < 250


def test_a_limit_below_an_empty_step_leaves_all_to_prompts() -> None:
    budget = _budget(0.003)
    budget.scheduled(0.0, 800, 0, 0, ["a"])
    budget.ended(0.5)
    assert budget.tokens(0.5, 200, 0) == MOST


def test_steps_in_flight_count_by_their_predicted_time() -> None:
    ahead, after = _budget(), _budget()
    for budget in (ahead, after):
        budget.scheduled(0.0, 800, 0, 0, ["a"])
        budget.ended(0.0134)
        budget.scheduled(0.0134, 1000, 1, 0, [])
    after.ended(0.0134 + 0.003 + 0.013 + 11e-6)
    assert ahead.tokens(0.0134, 1, 0) == pytest.approx(after.tokens(0.0294, 1, 0), 1)


def test_a_request_that_has_ended_asks_for_nothing() -> None:
    budget = _budget()
    budget.scheduled(0.0, 800, 0, 0, ["a"])
    budget.ended(0.02)
    for _ in range(20):
        budget.scheduled(0.02, 0, 1, 0, [])
        budget.ended(3.0)
    assert budget.tokens(3.0, 1, 0) < 500, "it is far behind"
    budget.finished(["a"])
    assert budget.tokens(3.0, 0, 0) == MOST


def test_no_surplus_is_kept_of_requests_long_gone() -> None:
    budget = _budget()
    for number in range(2000):
        budget.scheduled(number * 0.02, 800, 100, 0, [str(number)])
        budget.ended(number * 0.02 + 0.02)
        if number >= TOKENS - 1:
            budget.finished([str(number - TOKENS + 1)])
        budget.tokens(number * 0.02 + 0.02, 100, 0)
    assert len(budget._tightest) < TOKENS + 1
    assert len(budget._cohorts) < TOKENS + 1
