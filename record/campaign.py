"""`campaign.json`: the request, the runs and the results of a campaign."""

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
    """Requested arrival rate in queries/s; None if the scenario has no rate."""
    queries: int | None = None
    """Requested number of queries; None: as the configuration has it."""
    seconds: float = 0.0
    """From its start to its end, including loading."""
    counts: bool = False
    """Whether it passed; with a rate, whether the system sustained it."""
    reason: str = ""
    """Why it does not count; empty if it does."""


class CampaignSize(Struct, kw_only=True):
    """What a campaign found for one number of replicas."""

    replicas: int
    sustained_qps: float | None = None
    """Server: arrival rate that every confirming run sustained, in queries/s."""
    valid_qps: float | None = None
    """Server: highest arrival rate of any run that LoadGen calls VALID."""
    runs: int = 0
    """Number of runs that represent this size."""
    reason: str = ""
    """Why the size has no result; empty if it has one."""


class Campaign(Struct, kw_only=True):
    """A campaign in its current state."""

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
