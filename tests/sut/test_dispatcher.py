import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sut.balancers.least_outstanding_tokens import LeastOutstandingTokens
from sut.balancers.round_robin import RoundRobin
from sut.dispatcher import Dispatcher, Sample, UnexpectedAnswer


def _dispatcher(replicas: int = 2, room: int | None = None) -> Dispatcher:
    dispatcher = Dispatcher(RoundRobin(), lambda index: 100 + index)
    for number in range(replicas):
        dispatcher.add_replica(number, "n", room)
    return dispatcher


def _issue(dispatcher: Dispatcher, count: int) -> None:
    dispatcher.issue([(1000 + i, i) for i in range(count)], now_ns=5)


def test_samples_go_out_in_order_of_issue() -> None:
    dispatcher = _dispatcher()
    _issue(dispatcher, 4)
    batches = dispatcher.assign(now_ns=7)
    assert {r: [s.seq for s in b] for r, b in batches.items()} == {0: [0, 2], 1: [1, 3]}
    sample = batches[0][1]
    assert (sample.query_id, sample.qsl_index, sample.attempt) == (1002, 2, 1)
    assert (sample.issued_ns, sample.dispatched_ns) == (5, 7)


def test_a_full_replica_gets_no_more_until_it_has_room() -> None:
    dispatcher = _dispatcher(replicas=1, room=2)
    _issue(dispatcher, 5)
    first = dispatcher.assign(0)[0]
    assert [s.seq for s in first] == [0, 1]
    assert dispatcher.assign(0) == {}
    dispatcher.complete(first[0], 128)
    assert [s.seq for s in dispatcher.assign(0)[0]] == [2]


def test_a_removed_replicas_samples_go_first_and_in_order() -> None:
    dispatcher = _dispatcher(replicas=2, room=3)
    _issue(dispatcher, 8)
    dispatcher.assign(0)
    held = dispatcher.remove_replica(0)
    assert [s.seq for s in held] == [0, 2, 4]
    for sample in list(dispatcher.replicas[1].outstanding.values()):
        dispatcher.complete(sample, 128)
    again = dispatcher.assign(0)[1]
    assert [s.seq for s in again] == [0, 2, 4]
    assert [s.attempt for s in again] == [2, 2, 2]


@pytest.mark.parametrize(
    ("replica", "seq", "attempt"), [(1, 0, 1), (0, 9, 1), (0, 0, 2)]
)
def test_an_answer_out_of_turn_is_refused(replica: int, seq: int, attempt: int) -> None:
    dispatcher = _dispatcher(replicas=2)
    _issue(dispatcher, 1)
    dispatcher.assign(0)
    with pytest.raises(UnexpectedAnswer):
        dispatcher.held(replica, seq, attempt)


def test_a_second_answer_is_refused() -> None:
    dispatcher = _dispatcher(replicas=1)
    _issue(dispatcher, 1)
    dispatcher.assign(0)
    dispatcher.complete(dispatcher.held(0, 0, 1), 128)
    with pytest.raises(UnexpectedAnswer):
        dispatcher.held(0, 0, 1)


class DispatcherMachine(RuleBasedStateMachine):
    """Whatever happens, each issued sample is in exactly one place."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatcher = Dispatcher(LeastOutstandingTokens(), lambda i: 100 + i % 7)
        self.completed: list[int] = []
        self.next_replica = 0
        self.add(3)

    @rule(room=st.integers(1, 4))
    def add(self, room: int) -> None:
        self.dispatcher.add_replica(self.next_replica, "n", room)
        self.next_replica += 1

    @rule(count=st.integers(1, 9))
    def issue(self, count: int) -> None:
        _issue(self.dispatcher, count)

    @rule()
    def assign(self) -> None:
        for batch in self.dispatcher.assign(0).values():
            assert batch

    def _held(self) -> list[Sample]:
        loads = self.dispatcher.replicas.values()
        return [s for load in loads for s in load.outstanding.values()]

    @precondition(lambda self: self._held())
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        sample = data.draw(st.sampled_from(self._held()))
        self.dispatcher.complete(sample, 128)
        self.completed.append(sample.seq)

    @precondition(lambda self: self._held())
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        self.dispatcher.requeue(data.draw(st.sampled_from(self._held())))

    @precondition(lambda self: self.dispatcher.replicas)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.dispatcher.replicas)))
        self.dispatcher.remove_replica(chosen)

    @invariant()
    def each_sample_is_in_one_place(self) -> None:
        unfinished = [s.seq for s in self.dispatcher.unfinished()]
        everywhere = sorted(unfinished + self.completed)
        assert everywhere == list(range(self.dispatcher.issued))
        assert self.dispatcher.open_samples == len(unfinished)

    @invariant()
    def loads_add_up(self) -> None:
        for load in self.dispatcher.replicas.values():
            tokens = sum(s.prompt_tokens + 128 for s in load.outstanding.values())
            assert load.outstanding_tokens == tokens
            assert load.max_in_flight is not None
            assert len(load.outstanding) <= load.max_in_flight


TestDispatcher = DispatcherMachine.TestCase
TestDispatcher.settings = settings(max_examples=60, deadline=None)


@given(st.integers(1, 200), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_every_sample_is_completed_exactly_once(count: int, replicas: int) -> None:
    dispatcher = _dispatcher(replicas, room=3)
    _issue(dispatcher, count)
    answered = []
    while dispatcher.open_samples:
        for batch in dispatcher.assign(0).values():
            for sample in batch:
                answered.append(sample.seq)
                dispatcher.complete(sample, 1)
    assert sorted(answered) == list(range(count))
