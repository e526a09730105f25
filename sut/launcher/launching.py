"""The launcher's main loop: starts a node agent for each replica through Ray.

Ray's driver has some 25 threads, which would disturb LoadGen: so it has this process to
itself. The coordinator talks to it through pipes (`sut.wire.launcher_messages`).
Samples and logs pass it by. When its standard input ends, the coordinator is gone, and
it leaves nothing behind. When it is killed, Ray ends its actors, node agents end with
their actors, and a guard removes what Ray itself leaves on this host.
"""

import os
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import BinaryIO

import msgspec

from base.errors import ExitCode, SutError, UserError
from base.log import logger
from sut.clusters.local import Guard
from sut.interrupts import ignore_interrupts
from sut.launcher.agents import Agents
from sut.launcher.session import RaySession
from sut.scratch import Scratch
from sut.wire.launcher_messages import (
    Connect,
    Failed,
    FromLauncher,
    Launch,
    Serve,
    Shut,
    ToLauncher,
)

_LOG = logger(__name__)

_TICK_S = 0.2
_GUARD_S = 5.0
_LEAVE_S = 20.0
"""Longest that it takes to leave Ray once the coordinator is gone: then it kills itself
and what it has started on this host."""


@dataclass(slots=True)
class Pipe:
    """The coordinator's end of the launcher's standard input and output."""

    output: BinaryIO
    inbox: SimpleQueue[ToLauncher] = field(default_factory=SimpleQueue)

    def send(self, message: FromLauncher) -> None:
        """Send; a coordinator that is gone is noticed by `read`."""
        try:
            self.output.write(msgspec.json.encode(message) + b"\n")
            self.output.flush()
        except OSError:
            self.inbox.put(Shut())

    def read(self, source: BinaryIO) -> None:
        """Put what comes into the inbox, until the coordinator is gone."""
        decoder: msgspec.json.Decoder[ToLauncher] = msgspec.json.Decoder(ToLauncher)
        for line in source:
            message = decoder.decode(line)
            self.inbox.put(message)
        self.inbox.put(Shut())
        # Ray may be waiting for a cluster that does not answer.
        time.sleep(_LEAVE_S)
        os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> int:
    """Serve one run; return the exit code."""
    # Signals are for the coordinator, which then ends this process.
    ignore_interrupts()
    with os.fdopen(os.dup(1), "wb") as output, os.fdopen(os.dup(0), "rb") as source:
        # What Ray prints must not get among the messages.
        os.dup2(2, 1)
        pipe = Pipe(output)
        threading.Thread(target=pipe.read, args=[source], daemon=True).start()
        try:
            _serve(pipe)
        except SutError as error:
            pipe.send(
                Failed(cause=str(error), misconfigured=isinstance(error, UserError))
            )
        except Exception as error:  # noqa: BLE001  (the coordinator must hear of it)
            _LOG.exception("launcher")
            cause = f"{type(error).__name__}: {error}".splitlines()[0]
            pipe.send(Failed(cause=cause, misconfigured=False))
            return ExitCode.ABORTED
    return ExitCode.GOOD


def _serve(pipe: Pipe) -> None:
    first = pipe.inbox.get()
    if not isinstance(first, Connect):
        return
    with Scratch() as scratch, ExitStack() as stack:
        guard = Guard(scratch.path)
        # Processes of a Ray cluster that is started here belong to this group.
        guard.watch(os.getpgid(0))
        stack.callback(guard.close, _GUARD_S)
        stack.callback(guard.forget, os.getpgid(0))
        session = stack.enter_context(RaySession(first, scratch.path))
        pipe.send(session.connected)
        agents = Agents(session=session, send=pipe.send, spread=first.spread)
        _loop(pipe, agents)


def _loop(pipe: Pipe, agents: Agents) -> None:
    try:
        while True:
            try:
                message = pipe.inbox.get(timeout=_TICK_S)
            except Empty:
                agents.look()
                continue
            match message:
                case Serve():
                    agents.serve = message
                case Launch():
                    for replica, agent in message.agents.items():
                        agents.launch(replica, agent)
                    agents.look()
                case Shut():
                    return
                case Connect():
                    pass
    finally:
        agents.close()
