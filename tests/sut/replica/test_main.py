import numpy as np

from sut.engines.synthetic import SyntheticEngine
from sut.replica.__main__ import warm_up
from sut.wire.messages import Request, WarmupSpec
from tests.sut.engines.contract import spec
from tests.sut.engines.test_synthetic import OPTIONS


class Recorder(SyntheticEngine):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(spec(options=OPTIONS))
        self.seen: list[Request] = []

    def add(self, request: Request) -> None:
        self.seen.append(request)
        super().add(request)


def test_shapes_reach_the_longest_prompt_and_ids_are_made_up() -> None:
    engine = Recorder()
    steps = []
    shapes = WarmupSpec(typical_tokens=50, longest_tokens=300, width=6, vocab_size=1000)
    result = warm_up(engine, shapes, lambda: steps.append(1))
    lengths = [len(request.prompt) // 4 for request in engine.seen]
    assert lengths[0] == lengths[-1] == 50
    assert max(lengths) == 300
    assert len(lengths) == 8
    assert len({request.seq for request in engine.seen}) == 8
    assert all(request.seq < 0 for request in engine.seen)
    ids = np.frombuffer(engine.seen[0].prompt, "<i4")
    assert ids.min() >= 3
    assert ids.max() < 1000
    assert steps
    assert not engine.busy
    assert result.total_s >= result.first_request_s + result.last_request_s
