"""What `accuracy.json` and `comparison.json` record of each replica's answers."""

from msgspec import Struct


class ReplicaScores(Struct, kw_only=True):
    """The answers of one replica in one run."""

    node: str | None
    replica: int | None
    answers: int
    scores: dict[str, float]
    """Mean ROUGE in percent, by metric."""
    tokens_per_sample: float | None = None
    """Mean output tokens; None: not recorded."""


class OddAnswers(Struct, kw_only=True):
    """A replica whose answers differ from those of the others."""

    node: str | None
    replica: int | None
    measure: str
    own: float
    """Mean score in percent, or share of its answers in percent."""
    others: float
    unit: str
    answers: int
    """Number of its answers, or of its pairs, that were tested."""
    p: float
    """Corrected for the number of tests."""
    peer: str = ""
    """The other one of two replicas, if the test cannot say which one is wrong."""
