"""The dispatcher under random orders of events: no sample is lost or made twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sut.balancers import LeastOutstandingTokens, RoundRobin
from sut.coordinator.dispatcher import Dispatcher, Sample

pytestmark = pytest.mark.integration


class DispatcherMachine(RuleBasedStateMachine):
    """Whatever happens, each issued sample is in exactly one place."""

    def __init__(self) -> None:
        super().__init__()
        prompts, answers = [100, 101, 106] * 3, [128] * 9
        self.dispatcher = Dispatcher(LeastOutstandingTokens(), prompts, answers)
        self.completed: list[int] = []
        self.next_replica = 0
        self.add(3)

    @rule(room=st.integers(1, 4))
    def add(self, room: int) -> None:
        self.dispatcher.add_replica(self.next_replica, "n", room)
        self.next_replica += 1

    @rule(count=st.integers(1, 9))
    def issue(self, count: int) -> None:
        self.dispatcher.issue([(5, range(1000, 1000 + count), range(count))])

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
        self.dispatcher.complete(sample, 128, 0)
        self.completed.append(sample.seq)

    @precondition(lambda self: any(not s.begun for s in self._held()))
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        waiting = [s for s in self._held() if not s.begun]
        sample = data.draw(st.sampled_from(waiting))
        assert sample.replica is not None
        self.dispatcher.begin(sample.replica, sample.seq, sample.attempt)

    @precondition(lambda self: self.dispatcher.replicas)
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.dispatcher.replicas)))
        sent = self.dispatcher.replicas[chosen].sent
        self.dispatcher.note_queue(chosen, waiting=0, received=sent)

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
            assert load.outstanding_samples == len(load.outstanding)
            prefills = sum(not s.begun for s in load.outstanding.values())
            assert load.outstanding_prefills == prefills
            assert load.queue_target is not None
            assert load.waiting + load.sent - load.received <= load.queue_target


TestDispatcher = DispatcherMachine.TestCase
TestDispatcher.settings = settings(max_examples=60, deadline=None)


@given(st.integers(1, 200), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_every_sample_is_completed_exactly_once(count: int, replicas: int) -> None:
    dispatcher = Dispatcher(RoundRobin(), range(100, 1000), [128] * 900)
    for number in range(replicas):
        dispatcher.add_replica(number, "n", 3)
    dispatcher.issue([(5, range(1000, 1000 + count), range(count))])
    answered = []
    while dispatcher.open_samples:
        for replica, load in dispatcher.replicas.items():
            dispatcher.note_queue(replica, waiting=0, received=load.sent)
        for batch in dispatcher.assign(0).values():
            for sample in batch:
                answered.append(sample.seq)
                dispatcher.complete(sample, 1, 0)
    assert sorted(answered) == list(range(count))
