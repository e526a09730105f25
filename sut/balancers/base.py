"""The seam between the dispatcher and its policies."""

from collections.abc import Sequence
from typing import Protocol


class Load(Protocol):
    """What a policy may know of a replica."""

    @property
    def replica(self) -> int:
        """Number of the replica."""

    @property
    def outstanding_samples(self) -> int:
        """Samples handed to it and not finished."""

    @property
    def outstanding_tokens(self) -> int:
        """Prompt tokens, and answer tokens at their limit, of those samples."""

    @property
    def outstanding_prefills(self) -> int:
        """Those of them that have no first token yet (0 where nothing is streamed)."""

    @property
    def tokens_per_s(self) -> float | None:
        """Speed it has shown, in tokens as counted above; None as long as too few."""


class Balancer(Protocol):
    """Chooses a replica; may keep state of its own, does no I/O."""

    def choose(self, candidates: Sequence[Load]) -> Load:
        """Return one of `candidates` (never empty) for the next sample."""
