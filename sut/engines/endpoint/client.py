"""HTTP to one server: connections, authentication, retries and time limits."""

import asyncio
import os
import resource
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from sut.engines.base import EngineConfigError
from sut.engines.endpoint.protocol import (
    Answer,
    EventStream,
    ProtocolBreach,
    error_text,
)

_KEEP_ALIVE_S = 3.0
"""Less than a server keeps an idle connection (uvicorn: 5 s), so that a request never
goes into a connection that is about to close."""
_BUSY, _SERVER_WIDE = (429, 503), (401, 403, 404, 405)
_BACKOFF_S = 0.2
_LONGEST_PAUSE_S = 30.0
_SPARE_FILES = 256
"""Files that a replica has open beside its connections."""
_LONGEST_BODY = 16 << 20
"""Bytes of an answer that is read as a whole; one of 128 tokens has some kilobytes."""


class ServerLostError(Exception):
    """The server cannot be relied on: every request to it is given up."""


class RequestRefusedError(Exception):
    """The server refuses this one request."""


class ClientOptions(msgspec.Struct, kw_only=True):
    """The engine's options of `conf.engines.EndpointConfig`, as a replica gets them."""

    urls: list[str]
    served_model: str | None
    max_concurrency: int
    connect_timeout_s: float
    first_byte_timeout_s: float
    chunk_timeout_s: float
    busy_timeout_s: float
    retries: int
    api_key_env: str | None
    api_key_file: str | None
    api_key_header: str
    ca_file: str | None
    refuse_unknown: bool
    """Whether token ids and prefix-cache hits must be known, as for run=full."""


@dataclass(slots=True)
class Exchange:
    """One request on its way; `Client.overdue` reads it."""

    answer: Answer
    sent: float | None = None
    """perf_counter when it was sent last; None: it waits to be sent again."""
    heard: float | None = None
    """perf_counter when bytes of the answer came last."""
    first: float | None = None
    """perf_counter at the first token."""


class Client:
    """Talks to one server; everything but the constructor runs in one event loop."""

    def __init__(self, url: str, options: ClientOptions) -> None:
        """Read the key and the certificates; nothing is connected.

        Raises:
            EngineConfigError: they cannot be read, or the host allows too few files.
        """
        self.url = url
        self._options = options
        self._secret = _secret(options)
        self._ssl = _ssl_context(options)
        self._session: aiohttp.ClientSession | None = None
        _allow_files(options.max_concurrency)

    async def open(self) -> None:
        """Make the pool of connections."""
        # Two more than requests: for what is read from /metrics beside them.
        connector = aiohttp.TCPConnector(
            limit=self._options.max_concurrency + 2,
            keepalive_timeout=_KEEP_ALIVE_S,
            ssl=self._ssl or True,
        )
        headers = {}
        if self._secret:
            name = self._options.api_key_header
            bearer = name.lower() == "authorization"
            headers[name] = f"Bearer {self._secret}" if bearer else self._secret
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._options.connect_timeout_s
            ),
            # Others' cookies and redirects would make requests differ.
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    def safe(self, text: str) -> str:
        """Return `text` without the secret, which a server may have repeated."""
        return text.replace(self._secret, "***") if self._secret else text

    async def get(self, path: str) -> bytes | None:
        """Return the body at `path`; None where the server has no such path.

        Raises:
            ServerLostError: no answer came, or it is an error.
        """
        try:
            async with asyncio.timeout(self._options.connect_timeout_s):
                async with self._request("GET", path, None) as response:
                    body = await _whole(response)
        except TimeoutError as error:
            limit = self._options.connect_timeout_s
            raise ServerLostError(f"{path} gave no answer in {limit:g} s") from error
        except aiohttp.ClientError as error:
            raise ServerLostError(_reason(error)) from error
        if response.status in (404, 405):
            return None
        if response.status != 200:
            raise ServerLostError(self._status(path, response.status, body))
        return body

    async def complete(self, body: bytes, exchange: Exchange) -> AsyncIterator[None]:
        """Send `body` and fill the exchange's answer; yields once, at its first token.

        The request is sent again only while no byte of an answer has come: where the
        server asks to wait (429, 503) and where the connection breaks before.

        Raises:
            RequestRefusedError: the server refuses this request.
            ServerLostError: the server cannot be relied on.
        """
        breaks, since = 0, time.perf_counter()
        while True:
            exchange.sent = time.perf_counter()
            try:
                async with self._request("POST", "/v1/completions", body) as response:
                    if response.status == 200:
                        async for _ in self._read(response, exchange):
                            yield
                        return
                    text = await _whole(response)
                    pause = self._pause(response, text, since)
            except aiohttp.ClientError as error:
                breaks += 1
                if exchange.heard is not None or breaks > self._options.retries:
                    raise ServerLostError(_reason(error)) from error
                pause = _BACKOFF_S * 2 ** (breaks - 1)
            except ProtocolBreach as error:
                raise ServerLostError(self.safe(str(error))) from error
            # The wait is the server's wish: no time limit runs meanwhile.
            exchange.sent = None
            await asyncio.sleep(pause)

    async def _read(
        self, response: aiohttp.ClientResponse, exchange: Exchange
    ) -> AsyncIterator[None]:
        answer = exchange.answer
        if response.content_type != "text/event-stream":
            data = await _whole(response)
            exchange.heard = time.perf_counter()
            answer.take(data)
        else:
            stream = EventStream()
            # To the end, also after [DONE]: a connection with a rest is not kept.
            while data := await response.content.readany():
                exchange.heard = time.perf_counter()
                for event in stream.feed(data):
                    answer.take(event)
                if exchange.first is None and answer.has_begun:
                    exchange.first = exchange.heard
                    yield
        if answer.finish_reason is None:
            raise ProtocolBreach("an answer ended without a finish reason")

    def _pause(
        self, response: aiohttp.ClientResponse, body: bytes, since: float
    ) -> float:
        """Return how long to wait before the request is sent again, in s."""
        refusal = self._status("/v1/completions", response.status, body)
        if response.status in _BUSY:
            pause = _retry_after(response.headers.get("Retry-After"))
            limit = self._options.busy_timeout_s
            if time.perf_counter() + pause - since > limit:
                raise ServerLostError(f"{refusal}; busy for {limit:g} s")
            return pause
        if response.status < 500 and response.status not in _SERVER_WIDE:
            raise RequestRefusedError(refusal)
        raise ServerLostError(refusal)

    def overdue(self, exchange: Exchange, now: float) -> str | None:
        """Return why an exchange has taken too long at `now`, or None."""
        if exchange.sent is None:
            return None
        if exchange.heard is None or exchange.heard < exchange.sent:
            limit = self._options.first_byte_timeout_s
            if now - exchange.sent > limit:
                return f"no byte of an answer for {limit:g} s"
        elif now - exchange.heard > self._options.chunk_timeout_s:
            limit = self._options.chunk_timeout_s
            return f"an answer stopped half-way for {limit:g} s"
        return None

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: bytes | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        headers = {"Content-Type": "application/json"} if body else None
        async with self._session.request(
            method, self.url + path, data=body, headers=headers, allow_redirects=False
        ) as response:
            yield response

    def _status(self, path: str, status: int, body: bytes) -> str:
        return self.safe(f"{path} answers HTTP {status}: {error_text(body)}")


def _secret(options: ClientOptions) -> str | None:
    if options.api_key_env is not None:
        secret = os.environ.get(options.api_key_env, "").strip()
        if not secret:
            raise EngineConfigError(
                f"engine.api_key_env={options.api_key_env}: this variable is not set;"
                " export it before the run"
            )
    elif options.api_key_file is not None:
        path = Path(options.api_key_file)
        try:
            secret = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise EngineConfigError(
                f"engine.api_key_file={path}: {reason}; give the file that holds the"
                " key"
            ) from error
    else:
        return None
    if not secret or not secret.isprintable() or not secret.isascii():
        raise EngineConfigError(
            "the API key is empty or has characters that no header can hold; check"
            " engine.api_key_env or engine.api_key_file"
        )
    return secret


def _ssl_context(options: ClientOptions) -> ssl.SSLContext | None:
    if options.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise EngineConfigError(
            f"engine.ca_file={options.ca_file}: {error.strerror or error}; give a PEM"
            " file of certificates"
        ) from error


def _allow_files(connections: int) -> None:
    """Let this process open a file per connection: the usual limit is 1024."""
    wanted = connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in range(wanted):
        if hard in range(wanted):
            raise EngineConfigError(
                f"engine.max_concurrency={connections} needs {wanted} open files, and"
                f" this host allows {hard}; lower it, or raise `ulimit -Hn`"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _retry_after(value: str | None) -> float:
    """Return the seconds of a Retry-After header; one where it has none or a date."""
    try:
        seconds = float(value or "")
    except ValueError:
        return 1.0
    return min(max(seconds, 0.05), _LONGEST_PAUSE_S) if seconds == seconds else 1.0


def _reason(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return "its certificate is not trusted; give engine.ca_file=FILE"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "it does not speak TLS here; check http:// or https://"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"it cannot be reached ({error.os_error.strerror or error.os_error})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection broke half-way through an answer"
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__


def json_body(value: dict[str, Any]) -> bytes:
    """Return a request's body."""
    return msgspec.json.encode(value)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer.

    Raises:
        ServerLostError: it has no end in sight.
    """
    body = bytearray()
    while part := await response.content.readany():
        body += part
        if len(body) > _LONGEST_BODY:
            raise ServerLostError(f"an answer is longer than {_LONGEST_BODY >> 20} MiB")
    return bytes(body)
