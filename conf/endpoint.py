"""Checks the servers of `engine=endpoint`, and gives each a replica."""

import re
from urllib.parse import urlsplit

from base.errors import UserError
from conf.engines import EndpointConfig
from conf.schema import Config

_HEADER = re.compile(r"[A-Za-z0-9-]+")


def place_endpoints(config: Config) -> None:
    """Set one replica, without GPUs, for each server; other engines are left alone.

    With `cluster.replicas=N` the first N servers are used, so that a scaling campaign
    works as with other engines.

    Raises:
        UserError: an address or a number cannot be.
    """
    engine, cluster = config.engine, config.cluster
    if not isinstance(engine, EndpointConfig):
        return
    if cluster.name != "local":
        raise UserError(
            f"engine=endpoint works from this host: leave cluster={cluster.name} out"
        )
    if not engine.urls:
        raise UserError(
            "engine.urls: no server is given; e.g. engine.urls=[http://localhost:8000]"
        )
    urls = [_checked(url) for url in engine.urls]
    for url in urls:
        if urls.count(url) > 1:
            raise UserError(f"engine.urls: {url} is there twice; give each server once")
    if cluster.replicas is not None and cluster.replicas > len(urls):
        raise UserError(
            f"cluster.replicas={cluster.replicas}, but engine.urls has {len(urls)}"
            " servers: a replica is a server"
        )
    if engine.api_key_env is not None and engine.api_key_file is not None:
        raise UserError("give one of engine.api_key_env and engine.api_key_file")
    if not _HEADER.fullmatch(engine.api_key_header):
        raise UserError(
            f"engine.api_key_header={engine.api_key_header}: not the name of a header"
        )
    engine.urls = urls
    cluster.replicas = cluster.replicas or len(urls)
    cluster.gpus_per_replica = 0


def _checked(url: str) -> str:
    """Return the address of a server without what requests add to it."""
    if "@" in url:
        # No message may hold it, and the address goes into records.
        raise UserError(
            "engine.urls: an address has a user or a password in it; give the key by"
            " engine.api_key_env or engine.api_key_file"
        )
    try:
        parts = urlsplit(url)
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError as error:
        raise UserError(f"engine.urls: {url}: {error}") from error
    if parts.scheme not in ("http", "https") or not has_host:
        raise UserError(f"engine.urls: {url}: write http://HOST:PORT or https://...")
    if parts.query or parts.fragment:
        raise UserError(f"engine.urls: {url}: nothing may follow the path")
    return url.rstrip("/").removesuffix("/v1")
