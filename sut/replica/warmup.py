"""Makes an engine reach the shapes of the run before LoadGen's clock starts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sut.engines.base import Engine
from sut.wire.messages import Request, WarmupSpec

_RESERVED_IDS = 3


@dataclass(slots=True, kw_only=True)
class WarmupResult:
    """Seconds that warming up took."""

    total_s: float
    first_request_s: float
    last_request_s: float


def warm_up(
    engine: Engine, spec: WarmupSpec, stepped: Callable[[], None]
) -> WarmupResult:
    """Send a typical request, a wide batch up to the longest prompt, and it again.

    The first and the last request have the same shape, so that their difference is
    what a cold engine would have cost.

    Args:
        engine: a freshly built engine.
        spec: shapes; prompts are random ids, never those of a sample.
        stepped: called after each engine step.
    """
    rng = np.random.default_rng(0)
    numbers = iter(range(1, 2 + spec.width + 1))

    def request(tokens: int) -> Request:
        ids = rng.integers(_RESERVED_IDS, spec.vocab_size, tokens, dtype=np.int32)
        return Request(-next(numbers), 1, ids.tobytes())

    def run(requests: Sequence[Request]) -> float:
        started = time.perf_counter()
        for item in requests:
            engine.add(item)
        while engine.busy:
            engine.step()
            stepped()
        return time.perf_counter() - started

    started = time.perf_counter()
    first = run([request(spec.typical_tokens)])
    lengths = np.linspace(spec.typical_tokens, spec.longest_tokens, spec.width)
    run([request(int(length)) for length in lengths])
    last = run([request(spec.typical_tokens)])
    return WarmupResult(
        total_s=time.perf_counter() - started,
        first_request_s=first,
        last_request_s=last,
    )
