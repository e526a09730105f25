"""The seam between a replica and its engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from record.structs import Json
from sut.wire.messages import Completion, FirstToken, Request


class RequestError(Exception):
    """The engine refuses one request; it can go on with others."""


class EngineConfigError(Exception):
    """The engine cannot be built as configured: a mistake of the user."""


class EngineLostError(Exception):
    """The engine can answer nothing more; the replica ends and is fenced."""


@dataclass(slots=True, kw_only=True)
class EngineInfo:
    """What an engine says of itself once it is built."""

    versions: dict[str, str]
    model: dict[str, Json]
    settings: dict[str, Json]
    max_num_batched_tokens: int
    """Prompt tokens that one step may take in."""
    compile_s: float | None


@dataclass(slots=True, kw_only=True)
class EngineStats:
    """State of an engine between two steps."""

    running: int
    waiting: int
    kv_used: float | None
    server_running: int | None = None
    """Requests that a server reports as running, of all its clients."""
    server_waiting: int | None = None
    prefix_cache_hit_tokens: int | None = None
    """Prompt tokens that a server took from its cache since it was started."""


class Engine(Protocol):
    """Answers requests in steps; used by one thread, but for `stats`."""

    @property
    def info(self) -> EngineInfo:
        """What was built."""

    @property
    def busy(self) -> bool:
        """Whether `step` has work to do."""

    def add(self, request: Request) -> None:
        """Queue a request; never blocks.

        Raises:
            RequestError: this request cannot be answered.
        """

    def step(self) -> tuple[Sequence[FirstToken], Sequence[Completion]]:
        """Do one step; return the first tokens (if streaming) and whole answers.

        An answer with another finish reason than "stop" and "length" counts as
        refused: the sample goes to a replica again, as often as the run allows.

        Raises:
            EngineLostError: nothing more can be answered; all samples that the engine
                holds go to other replicas.
        """

    def stats(self) -> EngineStats:
        """Return the current state; any thread may call this."""

    def steps(self) -> tuple[bytes, int]:
        """Return records of the steps since the last call, and how many are missing.

        The records are of type `record.steps.STEP`, by CLOCK_MONOTONIC; there are none
        unless the spec asks for them. One thread at a time may call this, any one.
        """

    def lost_process(self) -> str | None:
        """Name a process that the engine needs and that has ended, if there is one.

        Any thread may call this, also while `step` waits for that process for ever.
        """

    def close(self) -> None:
        """Release what the engine holds."""


def duration_ns(seconds: float) -> int:
    """Return a duration in s as ns; one that is negative by a rounding error as 0."""
    return max(0, round(seconds * 1e9))
