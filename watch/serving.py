"""A small HTTP server that clients cannot hold up: few connections, none for long."""

import asyncio
import hmac
import ipaddress
import socket

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_MOST_CONNECTIONS = 256
_LONGEST_S = 30.0
"""Life of a connection. A client of the usual kind opens a new one for its next
request, so one that is silent, or slow, costs nothing but this."""


@web.middleware
async def _plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Allow reading only, and answer what is wrong in one line."""
    if request.method not in ("GET", "HEAD"):
        return web.Response(status=405, text="GET only\n", headers={"Allow": "GET"})
    try:
        return await handler(request)
    except web.HTTPException as error:
        return web.Response(status=error.status, text=f"{error.reason}\n")


def guard(token: str) -> Middleware:
    """Return a middleware that admits only who may read.

    Args:
        token: that requests must carry as a bearer; empty: the server listens on
            loopback, and requests must name it by an address of loopback. A page of
            another site that a browser on this host shows names its own.
    """
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token:
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode("utf-8", "replace"), expected):
                return web.Response(
                    status=401,
                    text="a token is needed: Authorization: Bearer TOKEN\n",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        elif not _names_loopback(request.host):
            return web.Response(status=403, text="only for this host\n")
        return await handler(request)

    return admit


def _names_loopback(host: str) -> bool:
    name = host.rpartition("]")[0].removeprefix("[") or host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def application(token: str, handlers: dict[str, Handler]) -> web.Application:
    """Return an application that answers GET at the paths of `handlers`."""
    app = web.Application(
        middlewares=[_plain_errors, guard(token)], client_max_size=1024
    )
    for path, handler in handlers.items():
        app.router.add_get(path, handler)
    return app


async def serve(app: web.Application, listener: socket.socket) -> web.AppRunner:
    """Serve `app` at `listener` until the returned runner is cleaned up."""
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=1.0
    )
    await runner.setup()
    assert runner.server is not None
    server, loop = runner.server, asyncio.get_running_loop()
    open_: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}

    def connect() -> asyncio.Protocol:
        protocol = server()
        if len(open_) >= _MOST_CONNECTIONS:
            end(next(iter(open_)))
        open_[protocol] = loop.call_later(_LONGEST_S, end, protocol)
        return protocol

    def end(protocol: asyncio.BaseProtocol) -> None:
        open_.pop(protocol).cancel()
        transport = getattr(protocol, "transport", None)
        if transport is not None:
            transport.abort()

    await loop.create_server(connect, sock=listener, backlog=128)
    return runner
