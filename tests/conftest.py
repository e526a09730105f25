"""What all tests share."""

import gc
import hashlib
import json
import signal
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

_TESTS = Path(__file__).parent
_NOT_UNIT = (
    *("benchmarks", "fuzz", "history", "integration", "sut/engines/hopper"),
    *("campaigns/qualify/test_qualify.py", "qsl/test_cache.py", "test_kubernetes.py"),
    *("sut/engines/test_endpoint.py", "sut/coordinator/test_restarts.py"),
    *(f"accuracy/test_{part}.py" for part in ("reference", "rouge", "score")),
    *(f"report/{part}" for part in ("compare", "findings", "rendering", "sections")),
    *("report/timeline", "report/test_build.py", "report/test_two_nodes.py"),
)
"""Where tests import torch or nltk, start processes or servers, or build whole reports:
no unit tests."""


@cache
def _is_unit(path: Path) -> bool:
    return not any(path.is_relative_to(_TESTS / folder) for folder in _NOT_UNIT)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import those files where only unit tests are asked for."""
    only_unit = "not integration" in config.getoption("markexpr")
    return True if only_unit and not _is_unit(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies there, so that each test runs in one of the parts."""
    for item in items:
        if not _is_unit(item.path):
            item.add_marker(pytest.mark.integration)


def pytest_configure() -> None:
    """Have Ctrl-C reach what tests start, also in the background of a shell."""
    gc.disable()  # until all modules are imported, which live as long as the tests
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what was imported out of collections, which take seconds otherwise."""
    if "conf.load" in sys.modules:
        _keep_compositions(session.config)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()


def _keep_compositions(config: pytest.Config) -> None:
    """Take what Hydra composed in an earlier session from pytest's cache.

    One composition takes 0.1 s, and the tests need thirty. Whatever decides about
    them is part of the key.
    """
    load = sys.modules["conf.load"]
    source, cache = Path(str(load.__file__)), getattr(config, "cache", None)
    if cache is None:
        return
    presets = sorted(source.parent.rglob("*.yaml"))
    releases = [version("hydra-core"), version("omegaconf")]
    names = [str(path) for path in presets]
    parts = [path.read_bytes() for path in (source, *presets)]
    parts.append(repr((names, releases)).encode())
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    stored = cache.get("conf/compositions", None) or {}
    kept: dict[str, Any] = stored.get(digest, {})
    compose = load.__dict__["_compose"]

    def composed(groups: tuple[tuple[str, str], ...]) -> Any:
        name = json.dumps(groups)
        if name not in kept:
            tree = compose(groups)
            if json.loads(json.dumps(tree)) != tree:
                return tree
            kept[name] = tree
            cache.set("conf/compositions", {digest: kept})
        return kept[name]

    load.__dict__["_compose"] = composed
