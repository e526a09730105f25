"""Digests of the code that makes a run; they show whether two runs used the same."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from base.files import ROOT, carried_path
from record.folder import RunFolder, write_json

_PACKAGES = ("accuracy", "base", "conf", "qsl", "record", "scenarios", "sut")
"""The packages that decide answers, their timing and their scores."""


def source_digests(root: Path = ROOT) -> dict[str, str]:
    """Return the SHA-256 of each source file that a run depends on, by its path.

    Raises:
        OSError: a file cannot be read.
    """
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(_files(root))
    }


def source_digest() -> str:
    """Return one SHA-256 over all that a run depends on.

    Raises:
        OSError: a file cannot be read.
    """
    lines = (f"{path} {digest}\n" for path, digest in source_digests().items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_source(folder: RunFolder) -> None:
    """Write `source.json`.

    Raises:
        OSError: the folder cannot be written, or a source file cannot be read.
    """
    write_json(folder.source, source_digests())


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file; a wheel and a checkout have the same names."""
    for package in _PACKAGES:
        for pattern in ("*.py", "*.yaml", "*.config"):
            for path in (root / package).rglob(pattern):
                yield path.relative_to(root).as_posix(), path
    yield "mlperf.conf", carried_path("mlperf.conf", root=root)
