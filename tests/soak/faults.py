"""What can go wrong in a run, how it is made to, and what must come of it."""

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.integration.command import Command


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaFault:
    """Something that a replica does, or that is done to it."""

    name: str
    how: str
    """How it is injected, for the reader of the table."""
    cause: str | None
    """Regular expression of the event that tells of it; None: nothing needs to."""
    kind: str = "fence"
    """Kind of that event."""
    commit: Callable[[psutil.Process], None] | None = None
    """Done to the replica from outside; None: its saboteur does it inside."""


def _kill_core(replica: psutil.Process) -> None:
    (core,) = [p for p in replica.children() if "EngineCore" in p.name()]
    core.kill()


def _signal(number: signal.Signals) -> Callable[[psutil.Process], None]:
    return lambda replica: replica.send_signal(number)


_TURN = r"answered out of turn"
_SABOTAGE = "its code is hooked"
REPLICA_FAULTS = [
    ReplicaFault(
        name="killed",
        how="SIGKILL to the process",
        cause="killed by SIGKILL",
        commit=_signal(signal.SIGKILL),
    ),
    ReplicaFault(
        name="terminated",
        how="SIGTERM to the process",
        cause="killed by SIGTERM",
        commit=_signal(signal.SIGTERM),
    ),
    ReplicaFault(
        name="stopped",
        how="SIGSTOP to the process",
        cause="no heartbeat",
        commit=_signal(signal.SIGSTOP),
    ),
    ReplicaFault(
        name="stopped for 1 s",
        how="SIGSTOP, SIGCONT 1 s later",
        cause=None,
        commit=_signal(signal.SIGSTOP),
    ),
    ReplicaFault(name="hang", how="the engine step never ends", cause="stuck"),
    ReplicaFault(
        name="crash", how="the engine step raises an error", cause="illegal memory"
    ),
    ReplicaFault(
        name="out-of-memory",
        how="RLIMIT_AS, then an allocation of 4 GiB in the engine step",
        cause="MemoryError",
    ),
    ReplicaFault(
        name="refuse",
        how="the engine refuses one request",
        cause="refused by the saboteur",
        kind="retry",
    ),
    ReplicaFault(name="late", how="answers are held back for 1.5 s", cause=None),
    ReplicaFault(name="twice", how="a message of answers is sent twice", cause=_TURN),
    ReplicaFault(
        name="stranger", how="an answer to a sample it was not given", cause=_TURN
    ),
    ReplicaFault(name="garbage", how="bytes that are no message", cause="malformed"),
    ReplicaFault(
        name="cut-short", how="a message without its end", cause="malformed|exited"
    ),
    ReplicaFault(
        name="deaf", how="its connection is closed", cause="no heartbeat|connection"
    ),
    ReplicaFault(
        name="never-opens",
        how="after a restart it connects to another address",
        cause="not ready after",
    ),
    ReplicaFault(name="telemetry", how="reading the device raises", cause=None),
]
CORE_KILLED = ReplicaFault(
    name="engine core killed",
    how="SIGKILL to vLLM's engine core process",
    cause="EngineDead|VLLM::.* ended|exited|killed",
    commit=_kill_core,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFault:
    """Something that ends a run."""

    name: str
    how: str
    code: int
    """Exit code that must follow, unless the run had ended before."""
    commit: Callable[[Command], None]


def _all_lost(command: Command) -> None:
    for replica in replicas(command.pid).values():
        replica.kill()


def _fill_disk(command: Command) -> None:
    # No file may grow: what a full disk does, without one.
    size = max(
        (p.stat().st_size for p in Path(command.folder.path).iterdir() if p.is_file()),
        default=0,
    )
    limit = (size + 20_000, size + 20_000)
    resource.prlimit(command.pid, resource.RLIMIT_FSIZE, limit)


RUN_FAULTS = [
    RunFault(
        name="interrupt",
        how="SIGINT to the coordinator",
        code=3,
        commit=lambda command: command.signal(signal.SIGINT),
    ),
    RunFault(
        name="terminate",
        how="SIGTERM to the coordinator",
        code=3,
        commit=lambda command: command.signal(signal.SIGTERM),
    ),
    RunFault(
        name="coordinator killed",
        how="SIGKILL to the coordinator",
        code=-signal.SIGKILL,
        commit=lambda command: command.signal(signal.SIGKILL),
    ),
    RunFault(
        name="all replicas lost",
        how="SIGKILL to every replica at once, no restart",
        code=3,
        commit=_all_lost,
    ),
    RunFault(
        name="disk full",
        how="RLIMIT_FSIZE of the coordinator lowered to 20 kB above its largest file",
        code=3,
        commit=_fill_disk,
    ),
]


def replicas(coordinator: int) -> dict[int, psutil.Process]:
    """Return the replica processes of a coordinator, by number."""
    found = {}
    try:
        children = psutil.Process(coordinator).children()
    except psutil.NoSuchProcess:
        return {}
    for process in children:
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if "sut.replica" in line:
            found[int(line[line.index("--replica") + 1])] = process
    return found


def marked_processes(mark: str) -> list[str]:
    """Return the command lines of living processes that have SABOTAGE=`mark`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get("SABOTAGE") == mark and process.pid != os.getpid():
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
