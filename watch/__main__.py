"""`mlperf-sut watch [RUN]`: watch a run from another shell, or in a browser.

RUN is a run, a campaign, or a folder of runs; default: runs/. The newest run in it is
shown, and the next one of a campaign as soon as it starts. The page is served on
loopback; from another desk use a tunnel, e.g. ssh -L 8400:localhost:8400 HOST. It ends
with Ctrl-C; with --terminal also when the run, or its campaign, has ended.
"""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("watch.__main__")

import argparse
import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from aiohttp import web
from rich.console import Console
from rich.live import Live

from base.decode import printable
from base.errors import ExitCode, UserError
from base.files import data_path
from watch.follow import Follower
from watch.page_data import ABANDONED, page_data
from watch.screen import run_lines, run_screen
from watch.serving import application, serve

_INTERVAL_S = 1.0
_PLAIN_INTERVAL_S = 10.0
_LAST_PORT = 65535
_FILES = {
    "/": ("watch.html", "text/html"),
    "/watch.js": ("watch.js", "text/javascript"),
    "/watch.css": ("watch.css", "text/css"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " frame-ancestors 'none'"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch until the user, or the run, ends it; return the exit code."""
    return run_command(lambda: _command(arguments))


def _command(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    follower = Follower(options.run)
    follower.refresh()
    if options.terminal:
        _show(follower)
        return ExitCode.GOOD
    with _listen(options.port) as listener:
        print(f"watch: http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(follower, listener))
    return ExitCode.GOOD


def _show(follower: Follower) -> None:
    """Show the run in the terminal until it, and its campaign, has ended."""
    console = Console()
    if not console.is_terminal:
        while True:
            for line in run_lines(follower.run):
                print(printable(line), flush=True)
            if follower.ended:
                if follower.abandoned:
                    print(f"{follower.run.folder.path.name} {ABANDONED}")
                return
            _wait(follower, _PLAIN_INTERVAL_S)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(run_screen(follower.run), refresh=True)
            if follower.ended:
                return
            _wait(follower, _INTERVAL_S)


def _wait(follower: Follower, seconds: float) -> None:
    """Wait, but not beyond the end of the run."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not follower.ended:
        time.sleep(_INTERVAL_S)
        follower.refresh()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise UserError(
            f"--port {port}: {error.strerror}; give another one, or 0 for a free one"
        ) from error


async def _serve(follower: Follower, listener: socket.socket) -> None:
    texts = {"data": b"{}"}

    async def data(_request: web.Request) -> web.Response:
        return web.Response(body=texts["data"], content_type="application/json")

    async def file(request: web.Request) -> web.Response:
        name, kind = _FILES[request.path]
        return web.Response(
            body=data_path("watch", f"static/{name}").read_bytes(),
            content_type=kind,
            charset="utf-8",
            headers={
                "Content-Security-Policy": _POLICY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
            },
        )

    app = application("", {**dict.fromkeys(_FILES, file), "/data.json": data})
    runner = await serve(app, listener)
    try:
        while True:
            texts["data"] = msgspec.json.encode(page_data(follower))
            await asyncio.sleep(_INTERVAL_S)
            follower.refresh()
    finally:
        await runner.cleanup()


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else -1
    if not 0 <= port <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text}: give a port, 0 to {_LAST_PORT}")
    return port


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m watch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run",
        type=Path,
        nargs="?",
        default=Path("runs"),
        help="run, campaign or folder",
    )
    parser.add_argument(
        "--port", type=_port, default=8400, help="of the page; 0: a free one"
    )
    parser.add_argument(
        "--terminal", action="store_true", help="show it in this terminal instead"
    )
    return parser
