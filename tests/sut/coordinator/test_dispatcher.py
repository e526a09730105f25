import random

import pytest

from conf.clusters import BalancerName
from sut import balancers
from sut.balancers import RoundRobin, make_balancer
from sut.coordinator import dispatcher as dispatcher_module
from sut.coordinator.dispatcher import Dispatcher, UnexpectedAnswer


def _dispatcher(replicas: int = 2, room: int | None = None) -> Dispatcher:
    dispatcher = Dispatcher(RoundRobin(), range(100, 1000), [128] * 900)
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
    dispatcher = Dispatcher(RoundRobin(), lengths, [128] * 3, block=3)
    dispatcher.add_replica(0, "n", None)
    dispatcher.issue([(0, range(6), [i % 3 for i in range(6)])])
    assert [s.seq for s in dispatcher.assign(0)[0]] == [1, 2, 0, 4, 5, 3]


def test_a_sample_counts_with_the_answer_length_that_its_row_has() -> None:
    dispatcher = Dispatcher(
        make_balancer(BalancerName.least_outstanding_tokens, streaming=False),
        [100, 100, 100, 100],
        [900, 20, 30, 40],
    )
    for number in range(2):
        dispatcher.add_replica(number, "n", None)
    dispatcher.issue([(0, range(4), range(4))])
    batches = dispatcher.assign(0)
    # The long answer keeps its replica busy; the short ones go to the other.
    assert {r: [s.qsl_index for s in b] for r, b in batches.items()} == {
        0: [0],
        1: [1, 2, 3],
    }
    assert dispatcher.replicas[0].outstanding_tokens == 1000
    assert dispatcher.replicas[1].outstanding_tokens == 390
    dispatcher.complete(batches[1][1], 30, 1)
    assert dispatcher.replicas[1].outstanding_tokens == 260
    dispatcher.remove_replica(0)
    assert [s.qsl_index for s in dispatcher.assign(2)[1]] == [0]
    assert dispatcher.replicas[1].outstanding_tokens == 1260


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


@pytest.mark.parametrize(
    "name",
    [
        BalancerName.least_outstanding_tokens,
        BalancerName.prefill_aware,
        BalancerName.capacity_weighted,
    ],
)
@pytest.mark.parametrize("target", [None, 6])
def test_many_replicas_get_what_a_look_at_each_would_give_them(
    name: BalancerName, target: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hand_out(many: int) -> list[dict[int, list[int]]]:
        monkeypatch.setattr(dispatcher_module, "_MANY", many)
        # Both read the speeds at every choice.
        monkeypatch.setattr(balancers, "_REFRESH", 1)
        rng = random.Random(7)
        lengths = [rng.randrange(100, 2000) for _ in range(50)]
        answers = [rng.randrange(1, 500) for _ in range(50)]
        dispatcher = Dispatcher(make_balancer(name, streaming=True), lengths, answers)
        for replica in range(24):
            dispatcher.add_replica(replica, "n", target)
        found = []
        for turn in range(60):
            ids = range(dispatcher.issued, dispatcher.issued + rng.randrange(1, 40))
            dispatcher.issue([(turn, list(ids), [i % 50 for i in ids])])
            sent = dispatcher.assign(turn * 10**6)
            found.append({n: [s.seq for s in own] for n, own in sent.items()})
            for replica, own in sent.items():
                load = dispatcher.replicas[replica]
                dispatcher.note_queue(replica, len(own) // 2, load.sent)
                for sample in own[: rng.randrange(len(own) + 1)]:
                    dispatcher.begin(replica, sample.seq, 1)
                    dispatcher.complete(sample, 128, (turn + 1) * 10**6 + replica)
        return found

    one_by_one, by_score = hand_out(10**9), hand_out(1)
    assert one_by_one == by_score
    assert sum(len(own) for sent in by_score for own in sent.values()) > 300
