"""An OpenAI-compatible server without a model, which can misbehave.

Its answers are those of the synthetic engine. In a test it runs in a thread
(`StubServer`); as a process it prints its port:
`python -m tests.sut.engines.stub_server --token-s 0.001`.
"""

import argparse
import asyncio
import json
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from aiohttp import web

from sut.engines.synthetic import synthetic_answer

MODEL = "stub-model"


@dataclass(kw_only=True)
class Behavior:
    """What the server does; `fault` holds for the requests from `from_request` on."""

    fault: str = ""
    from_request: int = 2
    """The first request is the engine's own, when it starts."""
    times: int = 10**9
    """Requests that the fault hits."""
    retry_after: str = "0.05"
    token: str | None = None
    header: str = "Authorization"
    token_ids: bool = True
    caching: str | None = "False"
    """What /metrics says of prefix caching; None: there is no /metrics."""
    cached_tokens: int | None = None
    token_s: float = 0.0
    first_s: float = 0.0
    chunk_tokens: int = 4
    max_model_len: int = 100_000
    empty_first: bool = True
    """Whether an event without a token comes first, as servers send the role."""
    gap_s: float = 0.0
    """Between that event and the first token."""


@dataclass
class Stub:
    """The server's application and what it has counted."""

    behavior: Behavior
    requests: int = 0
    answered: list[bytes] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keep_bodies: bool = True
    clients: set[Any] = field(default_factory=set)
    """Addresses, and so connections, that completions came from."""

    def application(self) -> web.Application:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/version", self.version)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_post("/v1/completions", self.completions)
        return app

    def _authorize(self, request: web.Request) -> None:
        behavior = self.behavior
        if behavior.token is None:
            return
        given = request.headers.get(behavior.header, "")
        if given.removeprefix("Bearer ") != behavior.token:
            text = json.dumps({"error": f"Unauthorized: {given}"})
            raise web.HTTPUnauthorized(text=text)

    async def models(self, request: web.Request) -> web.Response:
        self._authorize(request)
        model = {
            "id": MODEL,
            "owned_by": "stub",
            "max_model_len": self.behavior.max_model_len,
        }
        return web.json_response({"object": "list", "data": [model]})

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "1.2.3"})

    async def metrics(self, request: web.Request) -> web.Response:
        if self.behavior.caching is None:
            raise web.HTTPNotFound
        return web.Response(
            text=f'vllm:num_requests_running{{engine="0"}} 3.0\n'
            'vllm:num_requests_waiting{engine="0"} 2.0\n'
            'vllm:kv_cache_usage_perc{engine="0"} 0.25\n'
            'vllm:prefix_cache_hits_total{engine="0"} 7.0\n'
            "vllm:cache_config_info{enable_prefix_caching="
            f'"{self.behavior.caching}",engine="0"}} 1.0\n'
            'vllm:other_bucket{le="0.5"} nonsense\n'
        )

    async def completions(self, request: web.Request) -> web.StreamResponse:
        self._authorize(request)
        self.requests += 1
        behavior = self.behavior
        body = await request.json()
        if self.keep_bodies:
            self.bodies.append(body)
        assert request.transport is not None
        self.clients.add(request.transport.get_extra_info("peername"))
        number = self.requests - behavior.from_request
        fault = behavior.fault if 0 <= number < behavior.times else ""
        if fault in ("429", "503"):
            headers = {"Retry-After": behavior.retry_after}
            return web.Response(status=int(fault), headers=headers, text="busy")
        if fault == "400":
            text = json.dumps({"error": {"message": "bad\nprompt", "code": 400}})
            return web.Response(status=400, text=text)
        if fault == "500":
            return web.Response(status=500, text="it broke")
        if fault == "drop":
            request.transport.close()
            return web.Response()
        if fault == "hang":
            await asyncio.sleep(60)
        return await self._answer(request, body, fault)

    async def _answer(
        self, request: web.Request, body: dict[str, Any], fault: str
    ) -> web.StreamResponse:
        behavior = self.behavior
        prompt = np.asarray(body["prompt"], "<i4").tobytes()
        ids = np.frombuffer(
            synthetic_answer(prompt, body["max_tokens"]), "<i4"
        ).tolist()
        usage: dict[str, Any] = {"prompt_tokens": len(body["prompt"])}
        if fault == "truncated":
            usage["prompt_tokens"] -= 1
        if behavior.cached_tokens is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": behavior.cached_tokens}
        if behavior.first_s:
            await asyncio.sleep(behavior.first_s)
        if not body.get("stream") or fault == "not_streamed":
            await asyncio.sleep(behavior.token_s * len(ids))
            choice = self._choice(ids, "length")
            self.answered.append(prompt)
            return web.json_response({"choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if behavior.empty_first:
            await self._event(response, {"choices": [self._choice([], None)]})
            await asyncio.sleep(behavior.gap_s)
        size = behavior.chunk_tokens
        parts = [ids[:1], *(ids[at : at + size] for at in range(1, len(ids), size))]
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            if number == 1 and fault:
                await self._spoil(request, response, fault)
            if number and behavior.token_s:
                await asyncio.sleep(behavior.token_s * len(part))
            reason = "length" if last else None
            await self._event(response, {"choices": [self._choice(part, reason)]})
        await self._event(response, {"choices": [], "usage": usage})
        self.answered.append(prompt)
        await response.write(b"data: [DONE]\n\n")
        if fault == "close_after":
            await response.write_eof()
            assert request.transport is not None
            request.transport.close()
        return response

    async def _spoil(
        self, request: web.Request, response: web.StreamResponse, fault: str
    ) -> None:
        if fault == "half_closed":
            assert request.transport is not None
            request.transport.close()
            raise ConnectionResetError
        if fault == "fin":
            # Half-closed: the end of the stream, and the connection stays open.
            assert request.transport is not None
            request.transport.write_eof()
            await asyncio.sleep(60)
        if fault == "broken":
            await response.write(b'data: {"choices": [{"te\n\n')
        if fault == "error_event":
            await self._event(response, {"error": {"message": "out of memory"}})
        if fault == "stop_half_way":
            await asyncio.sleep(60)
        if fault == "no_end":
            await response.write_eof()
            raise asyncio.CancelledError

    def _choice(self, ids: list[int], reason: str | None) -> dict[str, Any]:
        text = "".join(f" t{token}" for token in ids)
        choice = {"index": 0, "text": text, "finish_reason": reason}
        return choice | ({"token_ids": ids} if self.behavior.token_ids else {})

    @staticmethod
    async def _event(response: web.StreamResponse, event: dict[str, Any]) -> None:
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")


class StubServer:
    """A stub in a thread of this process, for the time of a `with`."""

    def __init__(
        self,
        behavior: Behavior | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.stub = Stub(behavior or Behavior())
        self.url = ""
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://localhost:{port}"
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> int:
        self._runner, port = await serve(self.stub, 0, self._tls)
        return port


async def serve(
    stub: Stub, port: int, tls: ssl.SSLContext | None = None
) -> tuple[web.AppRunner, int]:
    """Return a running server and its port."""
    runner = web.AppRunner(
        stub.application(),
        access_log=None,
        shutdown_timeout=0.1,
        handler_cancellation=True,
    )
    await runner.setup()
    site = web.TCPSite(
        runner, "127.0.0.1", port, ssl_context=tls, backlog=1024, reuse_port=port > 0
    )
    await site.start()
    return runner, runner.addresses[0][1]


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token-s", type=float, default=0.0)
    parser.add_argument("--first-s", type=float, default=0.0)
    parser.add_argument("--chunk-tokens", type=int, default=4)
    parser.add_argument("--token")
    options = parser.parse_args()
    behavior = Behavior(
        token_s=options.token_s,
        first_s=options.first_s,
        chunk_tokens=options.chunk_tokens,
        token=options.token,
    )
    stub = Stub(behavior, keep_bodies=False)
    _, port = await serve(stub, options.port)
    print(port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
