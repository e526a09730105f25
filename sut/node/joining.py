"""`mlperf-sut node --connect HOST:PORT --key FILE`: lets this host join runs.

Started on every host of `cluster=external`, also on the coordinator's own if replicas
are to run there. It waits for a coordinator (`mlperf-sut run`), starts replicas
when the coordinator asks, kills them when the run ends or the connection is lost, and
waits for the next run. CUDA_VISIBLE_DEVICES and the cores that this process may use
limit what it offers.
"""

import argparse
import contextlib
import os
import re
import socket as sockets
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq

from base.command import ArgumentParser, run_command
from base.decode import printable
from base.errors import Aborted, ExitCode, UserError
from base.files import cache_folder
from base.log import logger
from record.source import source_digest
from sut.clusters.placement import this_host
from sut.interrupts import abort_on_interrupt, end_with, ignore_interrupts
from sut.node.agent import NodeAgent, NodeSocket
from sut.scratch import Scratch
from sut.wire.keys import ClusterKey, decode_key, read_key, write_key
from sut.wire.node_messages import NODE_PROTOCOL, Join, Refused, Welcome, join_problem
from sut.wire.sockets import ProtocolError

_LOG = logger(__name__)

_JOIN_S = 1.0
_ALIVE_S = 1.0
_LOG_S = 30.0
_LAST_PORT = 65535


@dataclass(slots=True, kw_only=True)
class Options:
    """The options of the command."""

    connect: str
    """HOST:PORT of the coordinator."""
    key: str
    """File of the key; "-": the key comes by standard input."""
    name: str | None
    once: bool
    wait_s: float
    alive: Path | None
    """File that is touched once a second, for a probe."""
    parent: int | None
    """Process with which this one ends."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Take part in runs; return the exit code.

    Args:
        arguments: of the command; left out: the process's own.
    """
    return run_command(lambda: _command(arguments))


def _command(arguments: Sequence[str] | None) -> int:
    abort_on_interrupt()
    options = _parse(arguments)
    if options.parent is not None:
        end_with(options.parent)
    _check_resolves(options.connect)
    key = _read_key(options.key)
    # Slurm may run several nodes on one host.
    name = options.name or os.environ.get("SLURMD_NODENAME")
    # Ray has shown this process the GPUs of one replica alone.
    host = this_host(name, shared=options.parent is not None)
    # Once: files that change later are not the code that runs here.
    join = Join(
        NODE_PROTOCOL, host.name, host.gpus, host.cpus, source_digest(), host.near
    )
    if (problem := join_problem(join)) is not None:
        raise UserError(f"{problem}; --name gives another name")
    alive = _SignOfLife(options.alive)
    gpus, cores = len(host.gpus), len(host.cpus)
    _LOG.info("node %s: %d GPUs, %d cores", host.name, gpus, cores)
    while True:
        wrong = _take_part(options, key, join, alive)
        if wrong:
            _LOG.info("run given up, no replica is left here: %s", wrong)
        else:
            _LOG.info("run over")
        if options.once:
            return ExitCode.ABORTED if wrong else ExitCode.GOOD


class _SignOfLife:
    """Touches a file at most once a second, so that a probe sees a node that works."""

    def __init__(self, path: Path | None) -> None:
        """Touch it.

        Raises:
            UserError: it cannot be written.
        """
        self._path = path
        self._touched = -_ALIVE_S
        try:
            self._touch()
        except OSError as error:
            raise UserError(
                f"--alive {path}: {error.strerror}; name a file that can be written"
            ) from error

    def show(self) -> None:
        """Touch it if a second has passed; a full disk does not end a node."""
        if time.monotonic() - self._touched >= _ALIVE_S:
            with contextlib.suppress(OSError):
                self._touch()

    def _touch(self) -> None:
        self._touched = time.monotonic()
        if self._path is not None:
            self._path.touch()


def _take_part(
    options: Options, key: ClusterKey, join: Join, alive: _SignOfLife
) -> str | None:
    """Take part in one run; return its error, or None.

    Raises:
        UserError: the coordinator does not want this node.
        Aborted: there is no coordinator, or a signal ended this process.
    """
    # A name of its own in each run: what belongs to an earlier one must not count.
    identity = f"{join.name}-{uuid.uuid4().hex[:8]}"
    try:
        socket = NodeSocket(f"tcp://{options.connect}", identity, key)
    except zmq.ZMQError as error:
        raise UserError(f"--connect {options.connect}: {error}") from error
    try:
        welcome = _join(socket, options, join, alive)
        _LOG.info("run joined: %d replica(s) here", len(welcome.placements))
        with Scratch() as scratch:
            # Replicas read it there.
            write_key(key, scratch.path / "key")
            return NodeAgent(
                socket=socket,
                welcome=welcome,
                coordinator=options.connect.rpartition(":")[0],
                key=scratch.path / "key",
                scratch=scratch.path,
                cache=cache_folder() / "compile",
                show_alive=alive.show,
            ).run()
    except Aborted:
        ignore_interrupts()
        raise
    finally:
        socket.close()


def _join(
    socket: NodeSocket, options: Options, join: Join, alive: _SignOfLife
) -> Welcome:
    """Offer this host until a coordinator accepts it.

    Raises:
        UserError: the coordinator does not want this node.
        Aborted: none came.
    """
    began = time.monotonic()
    logged = began - _LOG_S
    while (now := time.monotonic()) - began < options.wait_s:
        if now - logged >= _LOG_S:
            _LOG.info("%s yet: waiting", _absence(options, socket))
            logged = now
        socket.lost = False
        if not socket.send(join):
            socket.connect_again()
        socket.poll(_JOIN_S)
        alive.show()
        try:
            while (message := socket.receive()) is not None:
                if isinstance(message, Refused):
                    raise UserError(printable(message.reason))
                if isinstance(message, Welcome):
                    return message
        except ProtocolError as error:
            raise UserError(f"{options.connect}: no coordinator: {error}") from error
    raise Aborted(
        f"{_absence(options, socket)} for {options.wait_s:g} s; start mlperf-sut run"
        " there, or raise --wait-s"
    )


def _absence(options: Options, socket: NodeSocket) -> str:
    hint = " (the connection was refused: another key?)" if socket.refused else ""
    return f"no coordinator at {options.connect}{hint}"


def _read_key(name: str) -> ClusterKey:
    if name != "-":
        return read_key(Path(name))
    return decode_key(sys.stdin.buffer.read(), "standard input")


def _parse(arguments: Sequence[str] | None = None) -> Options:
    parser = ArgumentParser(
        prog="python -m sut.node",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--connect", required=True, metavar="HOST:PORT", help="the coordinator's")
    add(
        "--key",
        required=True,
        help="file that mlperf-sut keys made; -: the key comes by standard input",
    )
    add("--name", help="this node's name in reports (default: Slurm's, or the host's)")
    add("--once", action="store_true", help="leave after one run")
    add("--wait-s", type=float, default=600.0, help="leave if none comes (default 600)")
    add(
        "--alive",
        type=Path,
        metavar="FILE",
        help="touch this file once a second while the node works (for a probe)",
    )
    add("--parent", type=int, help=argparse.SUPPRESS)
    options = Options(**vars(parser.parse_args(arguments)))
    host, _, port = options.connect.rpartition(":")
    host_ok = re.fullmatch(r"[\w.\-]+|\[[\da-fA-F:.%\w]+\]", host)
    digits = re.fullmatch(r"\d{1,5}", port, re.ASCII)
    if not host_ok or not digits or not 0 < int(port) < _LAST_PORT:
        raise UserError(f"--connect {options.connect}: write HOST:PORT, e.g. head:5555")
    if not 0 < options.wait_s < float("inf"):
        raise UserError(f"--wait-s {options.wait_s:g}: write seconds, e.g. 600")
    return options


def _check_resolves(connect: str) -> None:
    """Look up the coordinator's name: ZeroMQ would try it forever.

    Raises:
        UserError: it does not resolve.
    """
    host, _, port = connect.rpartition(":")
    try:
        sockets.getaddrinfo(host.strip("[]"), int(port))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--connect {connect}: the name {host} does not resolve ({reason})"
        ) from error
