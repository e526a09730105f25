"""Runs over several nodes: real processes that join over TCP, really killed."""

import os
import signal
import time
from pathlib import Path

import pytest
import zmq

from conf.schema import DatasetConfig
from qsl.dataset import load_dataset
from record.loadgen_log import read_answers
from sut.engines.synthetic import synthetic_answer
from sut.wire.keys import make_key
from tests.external_nodes import Cable, NodeProcess, Nodes, free_port
from tests.integration.command import FAST, SYNTHETIC, Command, alive, run
from tests.sut.clusters.contract import wait_for

pytestmark = pytest.mark.integration
SAMPLES = 600
SLOW = [
    *("experiment=harness", f"dataset.count={SAMPLES}", "engine.step_s=0.02"),
    *("engine.output_tokens=32", "engine.max_num_seqs=64"),
    *("cluster.replicas=4", "cluster.heartbeat_timeout_s=3"),
]
QUERIES = 150
# Far below what two of the four replicas hold: a queue that grew would fail the run.
SERVER = ["scenario=server", "scenario.target_qps=30", f"run.min_queries={QUERIES}"]


@pytest.mark.parametrize(
    "scenario", [["scenario=offline"], ["scenario=server", "scenario.target_qps=2000"]]
)
def test_each_index_has_its_own_tokens(tmp_path: Path, scenario: list[str]) -> None:
    with Nodes(tmp_path, 2, "--once") as nodes:
        done = run(
            tmp_path / "runs",
            *("experiment=harness", "mode=accuracy", "cluster.replicas=4"),
            *("dataset.count=4000", *FAST, "engine.prefill_s_per_token=0"),
            *scenario,
            *nodes.overrides,
        )
        assert done.is_good, done.err
        assert [node.wait() for node in nodes.all] == [0, 0]
    dataset = load_dataset(DatasetConfig(name="synthetic", count=4000))
    answers = {a.qsl_index: a.tokens for a in read_answers(done.folder.accuracy_log)}
    assert sorted(answers) == list(range(4000))
    for index, tokens in answers.items():
        own = synthetic_answer(dataset.prompt(index).tobytes(), 128)
        assert tokens.tobytes() == own, f"index {index} has another's answer"
    assert [r.node for r in done.replicas] == ["n0", "n0", "n1", "n1"]
    assert {s.node for s in done.samples} == {"n0", "n1"}


@pytest.mark.parametrize(
    ("scenario", "number"),
    [
        (["scenario=offline"], signal.SIGKILL),
        (SERVER, signal.SIGKILL),
        (SERVER, signal.SIGSTOP),
        (SERVER, signal.SIGTERM),
    ],
)
def test_a_lost_node_loses_nothing(
    tmp_path: Path, scenario: list[str], number: int
) -> None:
    with Nodes(tmp_path) as nodes:
        command = Command(tmp_path / "runs", *SLOW, *scenario, *nodes.overrides)
        pids = command.replica_pids()
        count = QUERIES if scenario is SERVER else SAMPLES
        command.wait_for_samples(count // 6)
        nodes.all[1].signal(number)
        done = command.finish()
        assert done.is_good, done.err
        assert {s.seq for s in done.samples} == set(range(count))
        assert {s.status for s in done.samples} == {"completed"}
        assert done.verdict.degraded
        lost = [event for event in done.events if event.kind == "fence"]
        assert {event.node for event in lost} == {"n1"}
        assert len(lost) == 2
        if number == signal.SIGSTOP:
            nodes.all[1].signal(signal.SIGCONT)
        assert alive(pids) == []


@pytest.mark.skipif(not Cable.possible(), reason="no right to make networks")
def test_a_cut_cable_loses_nothing(tmp_path: Path) -> None:
    with Cable(0) as near, Cable(1) as far, Nodes(tmp_path, 0) as nodes:
        for number, cable in enumerate((near, far)):
            node = NodeProcess(nodes.port, nodes.key, f"n{number}", cable=cable)
            nodes.all.append(node)
        listen = f"cluster.listen=0.0.0.0:{nodes.port}"
        command = Command(tmp_path / "runs", *SLOW, *SERVER, *nodes.overrides, listen)
        pids = command.replica_pids()
        command.wait_for_samples(QUERIES // 6)
        far.cut()
        done = command.finish()
        assert done.is_good, done.err
        assert {s.seq for s in done.samples} == set(range(QUERIES))
        assert {s.status for s in done.samples} == {"completed"}
        lost = [event for event in done.events if event.kind == "fence"]
        assert {event.node for event in lost} == {"n1"}
        assert all("no heartbeat" in event.cause for event in lost)
        assert alive(pids) == [], "the node ended them by itself"
        wait_for(lambda: "no message from the coordinator" in nodes.all[1].said, "it")


def test_a_killed_coordinator_leaves_nodes_ready_for_the_next(tmp_path: Path) -> None:
    with Nodes(tmp_path) as nodes:
        command = Command(tmp_path / "runs", *SLOW, *nodes.overrides)
        pids = command.replica_pids()
        command.wait_for_samples(100)
        command.signal(signal.SIGKILL)
        command.finish(10)
        assert alive(pids) == []
        for _ in range(2):
            done = run(tmp_path / "again", *SYNTHETIC, *FAST, *nodes.overrides)
            assert done.code == 0, done.err
            assert len(done.samples) == 64
        assert all(node.said.count("run over") == 2 for node in nodes.all)


def test_an_interrupt_while_nodes_are_awaited_ends_at_once(tmp_path: Path) -> None:
    with Nodes(tmp_path, 0) as nodes:
        overrides = [*SYNTHETIC, *nodes.overrides, "cluster.nodes=1"]
        command = Command(tmp_path / "runs", *overrides)
        runs = tmp_path / "runs"
        command.wait_for(lambda: any(runs.glob("*/config.yaml")), "its start")
        time.sleep(0.5)
        command.signal(signal.SIGINT)
        done = command.finish(10)
        assert done.code == 3
        assert "aborted: interrupted by SIGINT" in done.err
        assert done.verdict.outcome == "aborted"


def test_another_key_is_reported_at_the_node(tmp_path: Path) -> None:
    with Nodes(tmp_path, 0) as nodes:
        make_key(tmp_path / "other.key")
        node = NodeProcess(nodes.port, tmp_path / "other.key", "n0", "--wait-s", "40")
        nodes.all.append(node)
        wait_for(lambda: "waiting" in node.said, "its start")
        overrides = [*SYNTHETIC, *nodes.overrides, "cluster.join_timeout_s=6"]
        done = run(tmp_path / "runs", *overrides)
        assert done.code == 2
        assert "0 of 1 nodes have joined (a client with another key was" in done.err
        assert "has another key and was turned away: copy" in done.err
        assert node.wait(60) == 3
        assert "the connection was refused: another key?" in node.said


def test_a_node_waits_as_long_as_set_for_an_end_that_refuses(tmp_path: Path) -> None:
    """Another ZeroMQ service at that port: libzmq gives the connection up."""
    make_key(tmp_path / "key")
    port, context = free_port(), zmq.Context()
    other = context.socket(zmq.PUB)
    other.bind(f"tcp://127.0.0.1:{port}")
    node = NodeProcess(port, tmp_path / "key", "n0", "--wait-s", "4")
    assert node.wait(60) == 3
    assert "(the connection was refused: another key?) for 4 s" in node.said
    other.close(linger=0)
    context.term()


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    with Nodes(tmp_path, 0) as nodes:
        overrides = [*SYNTHETIC, *nodes.overrides, "cluster.nodes=1"]
        first = Command(tmp_path / "first", *overrides)
        runs = tmp_path / "first"
        first.wait_for(lambda: any(runs.glob("*/config.yaml")), "its start")
        time.sleep(0.5)
        done = run(tmp_path / "second", *overrides)
        assert done.code == 2
        assert "Address already in use" in done.err
        first.signal(signal.SIGINT)
        first.finish(10)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--connect", "head"], "write HOST:PORT"),
        (["--connect", "head:99999"], "write HOST:PORT"),
        (["--connect", "*:5555"], "write HOST:PORT"),
        (["--connect", "::1:5555"], "write HOST:PORT"),
        (["--connect", "127.0.0.1:\u00b2"], "write HOST:PORT"),
        (["--connect", "no-such-host.invalid:5611"], "does not resolve"),
        (["--name", "n" * 300], "1 to 200 bytes"),
        (["--name", os.fsdecode(b"a\xff")], "is no UTF-8"),
        (["--name", "a\x1b[2J"], "control characters"),
        (["--wait-s", "nan"], "write seconds"),
        (["--key", "/none"], "make it with: mlperf-sut keys"),
        (["--wait-s", "1"], "no coordinator at"),
    ],
)
def test_what_a_node_cannot_do_is_reported(
    tmp_path: Path, options: list[str], expected: str
) -> None:
    make_key(tmp_path / "key")
    node = NodeProcess(free_port(), tmp_path / "key", "n0", *options)
    assert node.wait() == (3 if options[-1] == "1" else 2)
    assert expected in node.said
    assert "Traceback" not in node.said


@pytest.mark.parametrize("pause_s", [0.0, 0.3])
def test_a_waiting_node_ends_at_once_however_it_is_ended(
    tmp_path: Path, pause_s: float
) -> None:
    make_key(tmp_path / "key")
    for trial in range(4):
        node = NodeProcess(free_port(), tmp_path / "key", f"n{trial}")
        wait_for(lambda node=node: "waiting" in node.said, "its start")  # type: ignore[misc]
        node.signal(signal.SIGINT)
        time.sleep(pause_s / 1000)
        node.signal(signal.SIGTERM)
        assert node.wait(5) == 3
        assert "Traceback" not in node.said
