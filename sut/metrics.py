"""Starts the process that serves the metrics of a run: `python -m watch.exporter`.

It reads the run folder, so nothing that runs beside LoadGen waits for a scraper.
"""

import contextlib
import ipaddress
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from base.child import module_command, module_environment
from base.errors import UserError
from base.log import logger
from conf.schema import RunConfig
from record.folder import RunFolder

_LOG = logger(__name__)

TOKEN_VARIABLE = "MLPERF_SUT_METRICS_TOKEN"  # noqa: S105  (its name)
_SHORTEST_TOKEN = 16
_LONGEST_TOKEN = 4096
_BACKLOG = 128
_LEAVE_S = 2.0
Serve = Callable[[RunFolder], None]
"""Begins to serve the metrics of a run folder."""


@contextmanager
def metrics_server(run: RunConfig) -> Iterator[Serve]:
    """Yield a function that serves a run's metrics until the context ends.

    The port is taken before the run begins, so that one in use is found at once.

    Raises:
        UserError: address, port or token are not usable.
    """
    if run.metrics_port is None:
        _refuse_without_port(run)
        yield lambda _: None
        return
    token = _token(run)
    with _listen(run.metrics_address, run.metrics_port) as listener:
        process: list[subprocess.Popen[bytes]] = []
        try:

            def serve(folder: RunFolder) -> None:
                process.append(_start(listener, folder, token))
                # The child's copy stays: if it dies, scrapers are refused at once.
                listener.close()

            yield serve
        finally:
            for child in process:
                _stop(child)


def _refuse_without_port(run: RunConfig) -> None:
    if run.metrics_token_file is not None:
        raise UserError(
            "run.metrics_token_file has no effect without run.metrics_port; give a"
            " port, e.g. run.metrics_port=9400"
        )


def _token(run: RunConfig) -> str:
    """Return the token that scrapers must send; empty: none is needed.

    Raises:
        UserError: it cannot be read, is too short, or is missing where it is needed.
    """
    token, where = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
    if run.metrics_token_file is not None:
        where = f"run.metrics_token_file={run.metrics_token_file}"
        try:
            with Path(run.metrics_token_file).open("rb") as file:
                token = file.read(_LONGEST_TOKEN + 1).decode("ascii").strip()
        except OSError as error:
            raise UserError(f"{where}: {error.strerror}; name a readable file") from (
                error
            )
        except UnicodeDecodeError as error:
            raise UserError(f"{where}: not ASCII text") from error
    elif not token:
        if is_loopback(run.metrics_address):
            return ""
        raise UserError(
            f"run.metrics_address={run.metrics_address}: other hosts can reach it, so"
            " it needs a token; give run.metrics_token_file=FILE or set"
            f" {TOKEN_VARIABLE}"
        )
    if not _SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN or not token.isprintable():
        raise UserError(
            f"{where}: a token has {_SHORTEST_TOKEN} to {_LONGEST_TOKEN} printable"
            " characters; make one with `openssl rand -hex 32`"
        )
    return token


def is_loopback(address: str) -> bool:
    """Return whether only this host can reach `address`."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _listen(address: str, port: int) -> socket.socket:
    where = f"run.metrics_port={port} at {address}"
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UserError(
            f"{where}: {error.strerror or error}; give a free port (0: any) and an"
            " address of this host"
        ) from error


def _start(
    listener: socket.socket, folder: RunFolder, token: str
) -> "subprocess.Popen[bytes]":
    environment = {**module_environment(), TOKEN_VARIABLE: token}
    host, port = listener.getsockname()[:2]
    with (folder / "metrics.log").open("wb") as log:
        child = subprocess.Popen(
            module_command(
                "watch.exporter", str(folder.path), "--socket", str(listener.fileno())
            ),
            env=environment,
            # It ends when this pipe closes, however this process ends.
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            process_group=0,
        )
    shown = f"[{host}]" if ":" in host else host
    _LOG.info("metrics: http://%s:%d/metrics", shown, port)
    return child


def _stop(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is not None:
        _LOG.warning("the process of the metrics ended early; see metrics.log")
        return
    assert child.stdin is not None
    with contextlib.suppress(OSError):
        child.stdin.close()
    try:
        child.wait(_LEAVE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
