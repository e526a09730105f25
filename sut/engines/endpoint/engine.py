"""A server that runs already, behind the engine seam.

An event loop in a thread of its own holds the connections. `step` hands on what has
come since the last call, so that the replica drives a server like an engine.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
from tokenizers import Tokenizer

from record.structs import Json
from sut.engines.base import (
    EngineConfigError,
    EngineInfo,
    EngineLostError,
    EngineStats,
    RequestError,
    duration_ns,
)
from sut.engines.endpoint.client import (
    Client,
    ClientOptions,
    Exchange,
    RequestRefusedError,
    ServerLostError,
    json_body,
)
from sut.engines.endpoint.protocol import (
    PROBE,
    Answer,
    completion_body,
    load_tokenizer,
    probe_tokenizer,
    request_body,
)
from sut.engines.endpoint.server import ServerFacts, ServerState, read_facts, read_state
from sut.wire.messages import Completion, EngineSpec, FirstToken, Request

_STEP_S = 0.001
"""Longest that `step` waits: requests that come meanwhile wait as long."""
_WATCH_S = 0.25
_SCRAPE_S = 1.0
_BATCHED_TOKENS = 8192
"""Prompt tokens of a server's step, which no server reports: sizes the queue here."""


@dataclass(slots=True)
class _Pending:
    request: Request
    prompt: list[int]
    queued: float


class EndpointEngine:
    """Implements `sut.engines.base.Engine`."""

    def __init__(self, spec: EngineSpec, replica: int) -> None:
        """Connect to the server of this replica and learn what it can tell.

        Raises:
            EngineConfigError: the server cannot be reached, does not have the model,
                or cannot tell what the run must know.
        """
        self._spec = spec
        self._options = options = msgspec.convert(spec.options, ClientOptions)
        self._client = Client(options.urls[replica], options)
        self._tokenizer: Tokenizer | None = None
        self._outbox: queue.SimpleQueue[FirstToken | Completion | EngineLostError] = (
            queue.SimpleQueue()
        )
        self._incoming: deque[_Pending] = deque()
        self._exchanges: dict[tuple[int, int], Exchange] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open_requests = 0
        """Requests that were added and not yet answered; the caller's thread alone."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="endpoint", daemon=True
        )
        self._thread.start()
        started = time.perf_counter()
        try:
            starting = asyncio.run_coroutine_threadsafe(self._start(), self._loop)
            self._facts = starting.result()
        except ServerLostError as error:
            self.close()
            raise EngineConfigError(
                f"engine.urls: {self._client.url}: {error}"
            ) from error
        except EngineConfigError:
            self.close()
            raise
        self._state: ServerState = self._facts.state
        self._build_s = time.perf_counter() - started
        known = self._facts.max_model_len or spec.max_model_len
        self._max_model_len = min(spec.max_model_len, known)
        for work in (self._watch(), self._scrape()):
            self._loop.call_soon_threadsafe(self._run, work)

    @property
    def info(self) -> EngineInfo:
        """What was found."""
        facts = self._facts
        settings: dict[str, Json] = {
            "url": self._client.url,
            "max_concurrency": self._options.max_concurrency,
            "token_ids": "tokenizer" if self._tokenizer else "server",
            "prefix_cache_hits": self._hits_known,
            "build_s": round(self._build_s, 3),
        }
        if facts.state.prefix_caching is not None:
            settings["enable_prefix_caching"] = facts.state.prefix_caching
        return EngineInfo(
            versions={facts.software: facts.version, "aiohttp": version("aiohttp")},
            model={"served_model": facts.model, "max_model_len": facts.max_model_len},
            settings=settings,
            max_num_batched_tokens=_BATCHED_TOKENS,
            compile_s=None,
        )

    @property
    def busy(self) -> bool:
        """Whether `step` has work to do."""
        return self._open_requests > 0

    def add(self, request: Request) -> None:
        """Queue a request.

        Raises:
            RequestError: the prompt leaves no room for the answer, or is no int32 list.
        """
        length, rest = divmod(len(request.prompt), 4)
        if rest or not length:
            raise RequestError("the prompt is not a list of int32 token ids")
        if length + self._most(request) > self._max_model_len:
            raise RequestError(
                f"{length} prompt tokens and the answer exceed the model's length of"
                f" {self._max_model_len}"
            )
        prompt = np.frombuffer(request.prompt, "<i4").tolist()
        self._incoming.append(_Pending(request, prompt, time.perf_counter()))
        self._open_requests += 1
        self._loop.call_soon_threadsafe(self._send)

    def step(self) -> tuple[Sequence[FirstToken], Sequence[Completion]]:
        """Return what has come; waits for a moment where nothing has.

        Raises:
            EngineLostError: the server cannot be relied on.
        """
        first: list[FirstToken] = []
        done: list[Completion] = []
        with contextlib.suppress(queue.Empty):
            item = self._outbox.get(timeout=_STEP_S)
            while True:
                if isinstance(item, EngineLostError):
                    raise item
                if isinstance(item, FirstToken):
                    first.append(item)
                else:
                    done.append(item)
                item = self._outbox.get_nowait()
        self._open_requests -= len(done)
        return first, done

    def stats(self) -> EngineStats:
        """Return the requests here, and what the server reported last.

        `running` are those sent, `waiting` those that wait for a free connection.
        """
        return EngineStats(
            running=len(self._exchanges),
            waiting=len(self._incoming),
            kv_used=self._state.kv_used,
            server_running=self._state.running,
            server_waiting=self._state.waiting,
            prefix_cache_hit_tokens=self._state.prefix_cache_hit_tokens,
        )

    def steps(self) -> tuple[bytes, int]:
        """Return no records: the steps of a server are not known."""
        return b"", 0

    def lost_process(self) -> str | None:
        """Return None: it needs no other process."""
        return None

    def close(self) -> None:
        """Cancel open requests and disconnect."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(5.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def _hits_known(self) -> str:
        if self._facts.state.prefix_caching is False:
            return "off"
        return "reported" if self._reports_hits else "unknown"

    async def _start(self) -> ServerFacts:
        """Return the server's facts; one short request shows what its answers tell."""
        await self._client.open()
        spec, options = self._spec, self._options
        default = Path(spec.model_path).name
        facts = await read_facts(self._client, options.served_model, default)
        self._facts, self._body = facts, completion_body(spec, facts.model)
        probe = Exchange(Answer(probe_tokenizer()))
        body = self._body | PROBE
        try:
            async with asyncio.timeout(options.first_byte_timeout_s):
                async for _ in self._client.complete(json_body(body), probe):
                    pass
        except TimeoutError as error:
            limit = options.first_byte_timeout_s
            raise ServerLostError(f"no answer in {limit:g} s") from error
        except RequestRefusedError as error:
            raise ServerLostError(str(error)) from error
        self._reports_hits = probe.answer.cached_tokens is not None
        if options.refuse_unknown:
            self._refuse_unknown(probe.answer)
        if not probe.answer.has_ids:
            self._tokenizer = load_tokenizer(spec.model_path, self._client.url)
        return facts

    def _refuse_unknown(self, answer: Answer) -> None:
        if not answer.has_ids:
            raise EngineConfigError(
                f"run=full: {self._client.url} gives no token ids (return_token_ids),"
                " and a full run needs them; give run=smoke"
            )
        if self._hits_known == "unknown":
            raise EngineConfigError(
                f"run=full: {self._client.url} does not report prefix-cache hits,"
                " and a full run needs them; start vLLM with"
                " --no-enable-prefix-caching or"
                " --enable-prompt-tokens-details, or give run=smoke"
            )

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._lose(f"{type(error).__name__}: {error}")

    def _send(self) -> None:
        """Send what waits, as far as connections are free."""
        while self._incoming and len(self._exchanges) < self._options.max_concurrency:
            # Counted as sent before it no longer waits: `stats` never misses one.
            pending = self._incoming[0]
            exchange = Exchange(Answer(self._tokenizer))
            key = pending.request.seq, pending.request.attempt
            self._exchanges[key] = exchange
            self._incoming.popleft()
            self._run(self._answer(pending, exchange))

    async def _answer(self, pending: _Pending, exchange: Exchange) -> None:
        request, answer = pending.request, exchange.answer
        seq, attempt = request.seq, request.attempt
        begun = time.perf_counter()
        body = request_body(self._body, pending.prompt, request.output_tokens)
        most = self._most(request)
        reason = ""
        try:
            async for _ in self._client.complete(body, exchange):
                token = answer.tokens(most)[:4]
                self._outbox.put(FirstToken(seq, attempt, token))
            tokens = answer.tokens(most)
            reason = answer.doubt(len(pending.prompt), request.output_tokens, tokens)
            if self._spec.streaming and exchange.first is None and not reason:
                reason = "the server did not stream its answer"
        except RequestRefusedError as error:
            tokens, reason = b"", str(error)
        except Exception as error:  # noqa: BLE001  (whatever it was, nothing may be lost)
            self._lose(self._client.safe(str(error)))
            return
        finally:
            self._exchanges.pop((seq, attempt), None)
            self._send()
        first, end = exchange.first, time.perf_counter()
        cached = answer.cached_tokens
        if cached is None and self._facts.state.prefix_caching is False:
            cached = 0
        self._outbox.put(
            Completion(
                seq,
                attempt,
                tokens,
                reason or answer.finish_reason or "unknown",
                cached,
                duration_ns(begun - pending.queued),
                duration_ns(first - begun) if first else None,
                duration_ns(end - first) if first else None,
            )
        )

    def _most(self, request: Request) -> int:
        """Return the most tokens that the answer to `request` may have."""
        return request.output_tokens or self._spec.max_tokens

    async def _watch(self) -> None:
        """Give the server up once an answer is overdue."""
        while True:
            await asyncio.sleep(_WATCH_S)
            now = time.perf_counter()
            for exchange in self._exchanges.values():
                if (cause := self._client.overdue(exchange, now)) is not None:
                    self._lose(cause)
                    return

    async def _scrape(self) -> None:
        """Read the server's figures once a second; without them a run is poorer."""
        while self._state.running is not None:
            await asyncio.sleep(_SCRAPE_S)
            with contextlib.suppress(ServerLostError):
                self._state = await read_state(self._client)

    def _lose(self, cause: str) -> None:
        self._outbox.put(EngineLostError(f"{self._client.url}: {cause}"))

    async def _stop(self) -> None:
        self._incoming.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()
