"""`campaign.json`: what a campaign asked for, which runs it made, what it found."""

from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from record.folder import read_json

NAME = "campaign.json"
Status = Literal["running", "good", "not good", "interrupted"]
Phase = Literal["repeat", "search", "confirm"]


class CampaignRun(Struct, kw_only=True):
    """One run of a campaign."""

    run: str
    """Name of its folder inside the campaign's."""
    replicas: int
    phase: Phase
    rate: float | None = None
    """Arrival rate that was asked for, in queries/s; None: the scenario has none."""
    queries: int | None = None
    """Queries that were asked for; None: as the configuration has it."""
    seconds: float = 0.0
    """From its start to its end, loading included."""
    counts: bool = False
    """Whether it passed; with a rate: whether the system sustained it."""
    reason: str = ""
    """Why it does not count; empty where it does."""


class CampaignSize(Struct, kw_only=True):
    """What a campaign found for one number of replicas."""

    replicas: int
    sustained_qps: float | None = None
    """Server: rate of arrivals that every confirming run sustained, in queries/s."""
    valid_qps: float | None = None
    """Server: highest rate of arrivals of any run that LoadGen calls VALID."""
    runs: int = 0
    """Runs that stand for the size."""
    reason: str = ""
    """Why the size has no result; empty where it has one."""


class Campaign(Struct, kw_only=True):
    """A campaign as far as it has come."""

    kind: str
    """Which campaign, e.g. scaling."""
    command: list[str]
    scenario: str
    started: str
    """UTC, ISO 8601."""
    status: Status = "running"
    sizes: list[CampaignSize] = field(default_factory=list)
    runs: list[CampaignRun] = field(default_factory=list)


def read_campaign(root: Path) -> Campaign:
    """Return the record in the campaign's folder `root`.

    Raises:
        RecordError: it is missing or damaged.
    """
    return read_json(root / NAME, Campaign)
