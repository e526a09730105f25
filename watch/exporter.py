"""`python -m watch.exporter RUN --socket FD`: serves the metrics of a run.

A run starts it as a process of its own, at a low priority, and hands
over the socket on which it listens. It reads the run folder once a second. A scrape
returns the text that was made then, so scrapes cost nearly nothing however many come.
It ends when its standard input closes, which the run holds open.
"""

from base.command import run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("watch.exporter")

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from base.command import ArgumentParser
from base.errors import ExitCode
from record.folder import RunFolder
from watch.live_run import LiveRun, read_settings
from watch.metrics import RunCollector
from watch.serving import application, serve

TOKEN_VARIABLE = "MLPERF_SUT_METRICS_TOKEN"  # noqa: S105  (its name)
_INTERVAL_S = 1.0
_NICE = 10


class Exporter:
    """The metrics of a run as text, made once for each look at its folder."""

    def __init__(self, folder: RunFolder) -> None:
        """Read `folder`."""
        self._run = LiveRun(folder)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(RunCollector(self._run, read_settings(folder)))
        self._texts: dict[str, tuple[bytes, str]] = {}
        """Text and content type by what a client accepts: one of two."""

    def refresh(self) -> None:
        """Read what was written since the last call."""
        self._run.refresh()
        self._texts.clear()

    def text(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in a format that `accept` names, and its content type."""
        encoder, content_type = choose_encoder(accept)
        if content_type not in self._texts:
            self._texts[content_type] = encoder(self._registry), content_type
        return self._texts[content_type]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until standard input closes; return the exit code."""
    return run_command(lambda: _command(arguments))


def _command(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    # The terminal's Ctrl-C is for the run, which closes standard input at its end.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICE)
    token = os.environ.pop(TOKEN_VARIABLE, "")
    with socket.socket(fileno=options.socket) as listener:
        asyncio.run(_serve(Exporter(RunFolder(options.run)), listener, token))
    return ExitCode.GOOD


async def _serve(exporter: Exporter, listener: socket.socket, token: str) -> None:
    closed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), _look_at_stdin, closed)
    exporter.refresh()

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = exporter.text(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def root(_request: web.Request) -> web.Response:
        return web.Response(text="see /metrics\n")

    app = application(token, {"/metrics": metrics, "/": root})
    runner = await serve(app, listener)
    while not closed.is_set():
        try:
            await asyncio.wait_for(closed.wait(), _INTERVAL_S)
        except TimeoutError:
            exporter.refresh()
    await runner.cleanup()


def _look_at_stdin(closed: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        closed.set()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="python -m watch.exporter", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--socket", type=int, required=True, help="file descriptor")
    return parser
