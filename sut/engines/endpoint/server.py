"""What a server says of itself: its model, its version and its state."""

import math
from dataclasses import dataclass

import msgspec
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from sut.engines.base import EngineConfigError
from sut.engines.endpoint.client import Client, ServerLostError

_RUNNING = ("vllm:num_requests_running", "sglang:num_running_reqs")
_WAITING = ("vllm:num_requests_waiting", "sglang:num_queue_reqs")
_KV_USED = ("vllm:kv_cache_usage_perc", "sglang:token_usage")
_HITS = ("vllm:prefix_cache_hits_total",)
_CACHE = ("vllm:cache_config_info",)
_MOST = 2.0**53
"""Beyond it a float is no count."""
_READ = (*_RUNNING, *_WAITING, *_KV_USED, *_HITS, *_CACHE)


class _Model(Struct):
    id: str
    owned_by: str = ""
    max_model_len: int | None = None


class _Models(Struct):
    data: list[_Model]


class _Version(Struct):
    version: str


@dataclass(slots=True, kw_only=True)
class ServerState:
    """A server's own figures at one moment; None: it does not report this one.

    Sums over the engines behind the server; `kv_used` is their mean.
    """

    running: int | None = None
    waiting: int | None = None
    kv_used: float | None = None
    prefix_cache_hit_tokens: int | None = None
    """Since the server was started."""
    prefix_caching: bool | None = None


@dataclass(slots=True, kw_only=True)
class ServerFacts:
    """What a server says when a run starts."""

    model: str
    software: str
    version: str
    max_model_len: int | None
    state: ServerState


async def read_facts(client: Client, wanted: str | None, default: str) -> ServerFacts:
    """Return what the server behind `client` says of itself.

    Args:
        client: open.
        wanted: name of the model to ask for; None: the server's only one, or `default`.
        default: name of the run's model.

    Raises:
        EngineConfigError: the server does not have the model, or is no such server.
        ServerLostError: it cannot be reached.
    """
    body = await client.get("/v1/models")
    if body is None:
        raise EngineConfigError(
            f"{client.url}: no /v1/models there; give the address of a server with the"
            " OpenAI protocol, without /v1"
        )
    try:
        models = {
            model.id: model for model in msgspec.json.decode(body, type=_Models).data
        }
    except msgspec.DecodeError as error:
        raise EngineConfigError(
            f"{client.url}: /v1/models is not as the OpenAI protocol has it ({error})"
        ) from error
    name = wanted or (next(iter(models)) if len(models) == 1 else default)
    if name not in models:
        known = ", ".join(sorted(models)) or "none"
        raise EngineConfigError(
            f"{client.url} does not serve the model {name}; it has {known[:300]}: give"
            " engine.served_model=NAME"
        )
    version = "unknown"
    if found := await client.get("/version"):
        try:
            version = msgspec.json.decode(found, type=_Version).version
        except msgspec.DecodeError:
            version = "unknown"
    return ServerFacts(
        model=name,
        software=models[name].owned_by or "server",
        version=version,
        max_model_len=models[name].max_model_len,
        state=await read_state(client),
    )


async def read_state(client: Client) -> ServerState:
    """Return the figures that the server's /metrics has.

    Raises:
        ServerLostError: it cannot be reached, or answers with an error.
    """
    body = await client.get("/metrics")
    return ServerState() if body is None else parse_state(body)


def parse_state(body: bytes) -> ServerState:
    """Return the figures in a Prometheus exposition; NaN and the like are left out.

    Raises:
        ServerLostError: the lines that are read are not one.
    """
    # Only these lines go to the parser: histograms make thousands, and to parse them
    # once a second would delay answers.
    lines = [
        line
        for line in body.decode(errors="replace").splitlines()
        if line.startswith(_READ)
    ]
    values: dict[str, list[float]] = {}
    caching: bool | None = None
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                if math.isfinite(sample.value) and 0 <= sample.value < _MOST:
                    values.setdefault(sample.name, []).append(sample.value)
                if sample.name in _CACHE:
                    label = sample.labels.get("enable_prefix_caching", "")
                    caching = {"True": True, "False": False}.get(label, caching)
    except (ValueError, LookupError) as error:  # the parser raises either
        raise ServerLostError(f"/metrics cannot be read ({error})") from error

    def of(names: tuple[str, ...]) -> list[float]:
        return next((values[name] for name in names if name in values), [])

    used = of(_KV_USED)
    return ServerState(
        running=_total(of(_RUNNING)),
        waiting=_total(of(_WAITING)),
        kv_used=sum(used) / len(used) if used else None,
        prefix_cache_hit_tokens=_total(of(_HITS)),
        prefix_caching=caching,
    )


def _total(found: list[float]) -> int | None:
    return int(sum(found)) if found else None
