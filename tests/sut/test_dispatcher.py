import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sut.balancers.least_outstanding_tokens import LeastOutstandingTokens
from sut.balancers.round_robin import RoundRobin
from sut.dispatcher import Dispatcher, Sample, UnexpectedAnswer


def _dispatcher(replicas: int = 2, room: int | None = None) -> Dispatcher:
    dispatcher = Dispatcher(RoundRobin(), range(100, 1000))
    for number in range(replicas):
        dispatcher.add_replica(number, "n", room)
    return dispatcher


def _issue(dispatcher: Dispatcher, count: int) -> None:
    dispatcher.issue([(5, range(1000, 1000 + count), range(count))])


def test_samples_go_out_in_order_of_issue() -> None:
    dispatcher = _dispatcher()
    _issue(dispatcher, 4)
    batches = dispatcher.assign(now_ns=7)
    assert {r: [s.seq for s in b] for r, b in batches.items()} == {0: [0, 2], 1: [1, 3]}
    sample = batches[0][1]
    assert (sample.query_id, sample.qsl_index, sample.attempt) == (1002, 2, 1)
    assert (sample.issued_ns, sample.dispatched_ns) == (5, 7)


def test_a_replica_with_a_queue_gets_no_more_until_it_asks() -> None:
    dispatcher = _dispatcher(replicas=1, room=2)
    _issue(dispatcher, 5)
    assert [s.seq for s in dispatcher.assign(0)[0]] == [0, 1]
    assert dispatcher.assign(0) == {}
    dispatcher.note_queue(0, waiting=1, received=2)
    assert [s.seq for s in dispatcher.assign(0)[0]] == [2]
    dispatcher.note_queue(0, waiting=2, received=3)
    assert dispatcher.assign(0) == {}
    dispatcher.note_queue(0, waiting=0, received=3)
    assert [s.seq for s in dispatcher.assign(0)[0]] == [3, 4]


def test_the_longest_go_first_inside_one_pass_over_the_data() -> None:
    lengths = [5, 9, 7]
    dispatcher = Dispatcher(RoundRobin(), lengths, block=3)
    dispatcher.add_replica(0, "n", None)
    dispatcher.issue([(0, range(6), [i % 3 for i in range(6)])])
    assert [s.seq for s in dispatcher.assign(0)[0]] == [1, 2, 0, 4, 5, 3]


def test_speed_counts_only_time_with_work() -> None:
    dispatcher = _dispatcher(replicas=1)
    second = 10**9
    for start in (0, 100 * second):
        _issue(dispatcher, 1)
        (sample,) = dispatcher.assign(start)[0]
        dispatcher.complete(sample, 28, start + 2 * second)
    # Twice a prompt of 100 and an answer of 28 tokens, in twice 2 s.
    assert dispatcher.replicas[0].capacity_tokens_per_s == 64
    assert dispatcher.replicas[0].tokens_per_s is None, "too few to tell"


def test_prefills_are_those_without_a_first_token() -> None:
    dispatcher = _dispatcher(replicas=1)
    _issue(dispatcher, 3)
    samples = dispatcher.assign(0)[0]
    load = dispatcher.replicas[0]
    assert load.outstanding_prefills == 3
    assert dispatcher.begin(0, 0, 1) is samples[0]
    assert load.outstanding_prefills == 2
    dispatcher.complete(samples[0], 128, 1)
    dispatcher.complete(samples[1], 128, 1)
    assert load.outstanding_prefills == 1


def test_an_answer_begins_once() -> None:
    dispatcher = _dispatcher(replicas=1)
    _issue(dispatcher, 1)
    dispatcher.assign(0)
    dispatcher.begin(0, 0, 1)
    with pytest.raises(UnexpectedAnswer, match="began twice"):
        dispatcher.begin(0, 0, 1)


def test_a_removed_replicas_samples_go_first_and_in_order() -> None:
    dispatcher = _dispatcher(replicas=2, room=3)
    _issue(dispatcher, 8)
    dispatcher.assign(0)
    held = dispatcher.remove_replica(0)
    assert [s.seq for s in held] == [0, 2, 4]
    for sample in list(dispatcher.replicas[1].outstanding.values()):
        dispatcher.complete(sample, 128, 0)
    dispatcher.note_queue(1, waiting=0, received=3)
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
    dispatcher.complete(dispatcher.held(0, 0, 1), 128, 0)
    with pytest.raises(UnexpectedAnswer):
        dispatcher.held(0, 0, 1)


class DispatcherMachine(RuleBasedStateMachine):
    """Whatever happens, each issued sample is in exactly one place."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatcher = Dispatcher(LeastOutstandingTokens(), [100, 101, 106] * 3)
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
    dispatcher = _dispatcher(replicas, room=3)
    _issue(dispatcher, count)
    answered = []
    while dispatcher.open_samples:
        for replica, load in dispatcher.replicas.items():
            dispatcher.note_queue(replica, waiting=0, received=load.sent)
        for batch in dispatcher.assign(0).values():
            for sample in batch:
                answered.append(sample.seq)
                dispatcher.complete(sample, 1, 0)
    assert sorted(answered) == list(range(count))
