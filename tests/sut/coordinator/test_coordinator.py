"""A coordinator over replicas that misbehave."""

from pathlib import Path

import pytest

from sut.wire.messages import (
    Failed,
    Fatal,
    FirstToken,
    Outputs,
    Ready,
    Request,
)
from tests.run_folder import replica_record
from tests.sut.clusters.fake import (
    TOKENS,
    Behavior,
    FakeReplica,
    done,
)
from tests.sut.coordinator.harness import (
    good,
    leaves,
    running,
)


def test_good_replicas(tmp_path: Path) -> None:
    with running(tmp_path, good, good) as run:
        run.issue(50)
        run.wait(50)
    assert sorted(i for i, _ in run.complete) == list(range(1000, 1050))
    assert len(run.first) == 50
    assert run.coordinator.failure is None
    assert run.events() == []
    assert {s.seq for s in run.samples()} == set(range(50))


def answers_twice(replica: FakeReplica, requests: list[Request]) -> None:
    for request in requests:
        replica.answer(request)
        replica.answer(request)


def answers_anothers(replica: FakeReplica, requests: list[Request]) -> None:
    replica.answer(Request(999, 1, b""))


def malformed(replica: FakeReplica, _requests: list[Request]) -> None:
    replica.send_raw(b"\xc1junk")


def half_a_token(replica: FakeReplica, requests: list[Request]) -> None:
    replica.answer(requests[0], TOKENS[:5])


def ends_before_it_begins(replica: FakeReplica, requests: list[Request]) -> None:
    replica.send(Outputs([], [done(requests[0])], [], 0, 0))


def no_tokens(replica: FakeReplica, requests: list[Request]) -> None:
    replica.send(Outputs([], [done(requests[0], b"")], [], 0, 0))


def wrong_attempt(replica: FakeReplica, requests: list[Request]) -> None:
    replica.answer(Request(requests[0].seq, 7, b""))


def ready_twice(replica: FakeReplica, _requests: list[Request]) -> None:
    replica.send(Ready(replica_record(0), 8192))


def crashes(replica: FakeReplica, _requests: list[Request]) -> None:
    replica.send(Fatal("crash", "CUDA error: out of memory"))


def begins_twice(replica: FakeReplica, requests: list[Request]) -> None:
    first = FirstToken(requests[0].seq, requests[0].attempt, TOKENS[:4])
    replica.send(Outputs([first, first], [], [], 0, 0))


def begins_only(replica: FakeReplica, requests: list[Request]) -> None:
    begun = [FirstToken(r.seq, r.attempt, TOKENS[:4]) for r in requests]
    replica.send(Outputs(begun, [], [], 0, 0))
    replica.send(Fatal("crash", "killed half-way"))


@pytest.mark.parametrize(
    ("behavior", "cause"),
    [
        (answers_twice, "answered out of turn"),
        (answers_anothers, "answered out of turn: sample 999"),
        (malformed, "malformed message"),
        (half_a_token, "no int32 tokens"),
        (ends_before_it_begins, "ended before it began"),
        (no_tokens, "no int32 tokens"),
        (wrong_attempt, "attempt 7 is not with this replica"),
        (ready_twice, "reported twice"),
        (crashes, "out of memory"),
        (leaves, "its process killed by SIGKILL"),
        (begins_only, "killed half-way"),
        (begins_twice, "began twice"),
    ],
)
def test_a_replica_that_misbehaves_is_fenced_and_costs_nothing(
    tmp_path: Path, behavior: Behavior, cause: str
) -> None:
    with running(tmp_path, behavior, good) as run:
        run.issue(40)
        run.wait(40)
    expected = [i for i, _ in run.complete]
    assert sorted(expected) == list(range(1000, 1040)), "each once"
    assert len({i for i, _ in run.first}) == len(run.first) == 40
    (fence,) = [e for e in run.events() if e.kind == "fence"]
    assert fence.replica == 0
    assert cause in fence.cause
    assert {s.status for s in run.samples()} == {"completed"}
    assert not any(e.kind == "protocol" for e in run.events())


def test_a_recomputed_answer_that_begins_differently_is_recorded(
    tmp_path: Path,
) -> None:
    def other(replica: FakeReplica, requests: list[Request]) -> None:
        for request in requests:
            replica.answer(request, b"\x09\x00\x00\x00" * 3)

    with running(tmp_path, begins_only, other) as run:
        run.issue(10)
        run.wait(10)
    protocol = [e for e in run.events() if e.kind == "protocol"]
    retried = {s.seq for s in run.samples() if s.attempt == 2}
    assert {e.seq for e in protocol} == retried
    assert retried


def test_a_failed_request_is_tried_again(tmp_path: Path) -> None:
    def fails_first(replica: FakeReplica, requests: list[Request]) -> None:
        for request in requests:
            if request.attempt == 1 and request.seq % 2:
                failure = Failed(request.seq, 1, "no room")
                replica.send(Outputs([], [], [failure], 0, 0))
            else:
                replica.answer(request)

    with running(tmp_path, fails_first) as run:
        run.issue(10)
        run.wait(10)
    assert run.coordinator.failure is None
    assert {s.seq: s.attempt for s in run.samples()} == {
        seq: 2 if seq % 2 else 1 for seq in range(10)
    }
    assert [e.kind for e in run.events()] == ["retry"] * 5


def test_an_answer_that_was_cut_short_is_tried_again(tmp_path: Path) -> None:
    def aborts_first(replica: FakeReplica, requests: list[Request]) -> None:
        for request in requests:
            if request.attempt == 1:
                cut = done(request)
                cut.finish_reason = "abort"
                first = FirstToken(request.seq, 1, TOKENS[:4])
                replica.send(Outputs([first], [cut], [], 0, 0))
            else:
                replica.answer(request)

    with running(tmp_path, aborts_first) as run:
        run.issue(4)
        run.wait(4)
    assert len(run.first) == 4
    assert {s.attempt for s in run.samples()} == {2}
    assert all("abort" in e.cause for e in run.events())


def test_a_sample_that_always_fails_ends_the_run(tmp_path: Path) -> None:
    def fails(replica: FakeReplica, requests: list[Request]) -> None:
        for request in requests:
            failure = Failed(request.seq, request.attempt, "no room")
            replica.send(Outputs([], [], [failure], 0, 0))

    with running(tmp_path, fails) as run:
        run.issue(1)
        reason = run.wait_failure()
    assert "sample 0 (index 0) failed 3 times, last: no room" in reason
    assert [s.status for s in run.samples()] == ["lost"]


def test_what_is_issued_after_a_failure_is_recorded_as_lost(tmp_path: Path) -> None:
    with running(tmp_path, leaves) as run:
        run.issue(2)
        run.wait_failure()
        run.coordinator._thread.join(10)
        run.coordinator.issue(range(2000, 2003), range(3))
    assert [s.status for s in run.samples()] == ["lost"] * 5


def test_without_a_replica_the_run_ends(tmp_path: Path) -> None:
    with running(tmp_path, leaves, leaves) as run:
        run.issue(6)
        reason = run.wait_failure()
    assert "no replica is left" in reason
    assert {s.status for s in run.samples()} == {"lost"}
    assert len(run.samples()) == 6


def test_a_cluster_that_cannot_be_closed_is_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_grace_s: float) -> None:
        raise OSError("no such process")

    with (
        monkeypatch.context() as patch,
        pytest.raises(OSError, match="no such process"),
        running(tmp_path, good) as run,
    ):
        patch.setattr(run.cluster, "close", refuses)
    run.cluster.close(0)
