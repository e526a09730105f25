"""`python -m sut.replica`: one engine in a process of its own.

Started by a cluster, never by hand. It connects, receives the specification of its
engine, builds and warms it, and then answers samples until the coordinator sends Stop
or its parent dies.
"""

import argparse
import ctypes
import os
import queue
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from base.memory import spare_garbage_collector
from record.structs import ReplicaRecord
from sut.clusters.guard import members
from sut.clusters.numa import bind_memory, memory_by_node, numa_nodes
from sut.device_health import host_health
from sut.engines.base import Engine, EngineConfigError, RequestError
from sut.engines.factory import make_engine
from sut.replica.link import ReplicaLink
from sut.telemetry import DeviceMonitor
from sut.wire.keys import read_key
from sut.wire.messages import (
    PROTOCOL,
    Failed,
    Fatal,
    Generate,
    Hello,
    Outputs,
    Phase,
    Ready,
    ReplicaSpec,
    Request,
    Stop,
    WarmupSpec,
)

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


_PR_SET_PDEATHSIG = 1


@dataclass(slots=True, kw_only=True)
class _Arguments:
    connect: str
    identity: str
    replica: int
    node: str
    gpus: list[str]
    parent: int
    key: Path | None
    memory_node: int | None


def main() -> int:
    """Serve one engine; return the exit code."""
    arguments = _parse()
    _die_with(arguments.parent)
    if arguments.memory_node is not None:
        _bind_memory(arguments)
    key = None if arguments.key is None else read_key(arguments.key)
    link = ReplicaLink(arguments.connect, arguments.identity, key)
    link.send(Hello(PROTOCOL, os.getpid()))
    try:
        link.monitor = monitor = DeviceMonitor(arguments.gpus)
        spec = link.receive_spec()
        if spec is not None:
            engine = _start(spec, arguments, link, monitor)
            if spec.engine.steps:
                link.record_steps(engine)
            _serve(engine, link, asks=not spec.engine.streaming)
            link.send_last_steps()
            link.engine = None
            engine.close()
    except EngineConfigError as error:
        link.send(Fatal("config", str(error)))
        return 2
    except Exception as error:  # noqa: BLE001  (whatever it was, the coordinator must hear)
        traceback.print_exc()
        link.send(Fatal("crash", f"{type(error).__name__}: {error}".splitlines()[0]))
        return 3
    finally:
        link.close()
    return 0


def _start(
    spec: ReplicaSpec, arguments: _Arguments, link: ReplicaLink, monitor: DeviceMonitor
) -> Engine:
    started = time.perf_counter()
    before, health = monitor.use(), monitor.health()
    link.send(Phase("loading"))
    engine = make_engine(spec.engine, arguments.replica)
    load_s = time.perf_counter() - started
    link.send(Phase("warming up"))
    link.engine = engine
    warm = warm_up(engine, spec.warmup, lambda: link.stepped(engine.busy))
    info = engine.info
    host = host_health(os.sched_getaffinity(0))
    if len(numa_nodes()) > 1:
        host.memory_bytes = memory_by_node(members(os.getpgrp()))
    record = ReplicaRecord(
        replica=arguments.replica,
        node=arguments.node,
        pid=os.getpid(),
        devices=monitor.names(),
        cpus=sorted(os.sched_getaffinity(0)),
        versions={
            "python": sys.version.split()[0],
            **info.versions,
            **monitor.driver(),
        },
        model=info.model,
        engine=info.settings,
        limits=monitor.limits(),
        before=before,
        health=health,
        host=host,
        memory_bytes=sum(r.memory_used_bytes or 0 for r in monitor.read()) or None,
        load_s=load_s,
        compile_s=info.compile_s,
        warmup_s=warm.total_s,
        first_request_s=warm.first_request_s,
        last_request_s=warm.last_request_s,
        memory_node=arguments.memory_node,
    )
    spare_garbage_collector()
    link.send(Ready(record, info.max_num_batched_tokens))
    return engine


def _serve(engine: Engine, link: ReplicaLink, asks: bool) -> None:
    """Answer samples until the coordinator sends Stop.

    Args:
        engine: warm and idle.
        link: brings samples and takes answers.
        asks: whether the coordinator hands samples out by the state of the queue.
    """
    received, waiting = 0, 0
    arrived: dict[tuple[int, int], int] = {}
    while True:
        failed: list[Failed] = []
        taken = _take_in(engine, link, failed, arrived)
        if taken is None:
            return
        received += taken
        first, done = engine.step() if engine.busy else ((), ())
        link.stepped(engine.busy)
        for answer in done:
            since = arrived.pop((answer.seq, answer.attempt), None)
            if since is not None:
                answer.residence_ns = time.monotonic_ns() - since
        before, waiting = waiting, engine.stats().waiting
        if first or done or failed or (asks and (taken or waiting != before)):
            link.send(Outputs(list(first), list(done), failed, waiting, received))


def _take_in(
    engine: Engine,
    link: ReplicaLink,
    failed: list[Failed],
    arrived: dict[tuple[int, int], int],
) -> int | None:
    """Hand waiting requests to the engine; return how many, or None for Stop.

    Blocks only while the engine has no work.
    """
    taken = 0
    while True:
        try:
            message = link.inbox.get(block=not engine.busy and not failed)
        except queue.Empty:
            return taken
        if isinstance(message, Stop):
            return None
        assert isinstance(message, Generate)
        link.stepped(busy=True)
        taken += len(message.requests)
        for request in message.requests:
            try:
                engine.add(request)
                arrived[request.seq, request.attempt] = message.arrived_ns
            except RequestError as error:
                failed.append(Failed(request.seq, request.attempt, str(error)))


def _parse() -> _Arguments:
    parser = argparse.ArgumentParser(prog="python -m sut.replica", description=__doc__)
    parser.add_argument("--connect", required=True)
    parser.add_argument("--identity", required=True)
    parser.add_argument("--replica", required=True, type=int)
    parser.add_argument("--node", required=True)
    parser.add_argument("--gpu", action="append", default=[])
    parser.add_argument("--parent", required=True, type=int)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--memory-node", type=int)
    options = parser.parse_args()
    return _Arguments(
        connect=options.connect,
        identity=options.identity,
        replica=options.replica,
        node=options.node,
        gpus=options.gpu,
        parent=options.parent,
        key=options.key,
        memory_node=options.memory_node,
    )


def _bind_memory(arguments: _Arguments) -> None:
    """Take memory of the cores' own NUMA node alone, where that is allowed."""
    assert arguments.memory_node is not None
    problem = bind_memory(arguments.memory_node)
    if problem is not None:
        # Containers may not allow it: the record then has no node.
        print(f"memory is not bound to node {arguments.memory_node}: {problem}")
        arguments.memory_node = None


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    # The terminal's Ctrl-C is for the coordinator, which then stops its replicas.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(3)


if __name__ == "__main__":
    sys.exit(main())
