"""Accuracy logs as a submission carries them: both ends, and the hash of the whole."""

import hashlib
import re
from pathlib import Path

LARGEST_BYTES = 10 * 1024
"""The official checker refuses a longer accuracy log."""
_END_BYTES = 4096
_GAP = b"\n\n...\n\n"
_HASH = re.compile(r"^hash=([0-9a-f]{64})$", re.M)


def truncated(log: bytes) -> bytes:
    """Return the first and last 4096 bytes of `log`; all of it if it is shorter."""
    if len(log) < _END_BYTES:
        return log
    return log[:_END_BYTES] + _GAP + log[-_END_BYTES:]


def with_hash(scores: str, log: bytes) -> str:
    """Return the text of accuracy.txt with the hash of the whole log after it."""
    return f"{scores.rstrip()}\n\nhash={hashlib.sha256(log).hexdigest()}\n"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_in(scores: Path) -> str | None:
    """Return the hash in accuracy.txt; None if it has none.

    Raises:
        OSError: the file cannot be read.
    """
    found = _HASH.search(scores.read_text(errors="replace"))
    return found[1] if found else None
