"""`campaign.json`: the request, the runs and the results of a campaign."""

from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from record.folder import read_json

NAME = "campaign.json"
Status = Literal["running", "good", "not good", "interrupted"]
Phase = Literal["repeat", "search", "confirm"]
"""`search` has runs that may fail: they show where to look."""


class CampaignRun(Struct, kw_only=True):
    """One run of a campaign."""

    run: str
    """Name of its folder inside the campaign's."""
    replicas: int
    """Number of replicas."""
    phase: Phase
    """What the run was for."""
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
    """Number of replicas."""
    sustained_qps: float | None = None
    """Server: arrival rate that every confirming run sustained, in queries/s."""
    valid_qps: float | None = None
    """Server: highest arrival rate of any run that LoadGen calls VALID."""
    runs: int = 0
    """Number of runs that represent this size."""
    reason: str = ""
    """Why the size has no result; empty if it has one."""
    low_qps: float | None = None
    """95% interval of the highest rate in the long run, where a search forecast it."""
    high_qps: float | None = None
    """Upper end of that interval."""
    limiting: str | None = None
    """The limit with the least headroom at the sustained rate, where it is known."""
    headroom: float | None = None
    """Of that limit, as a share."""


class LimitResult(Struct, kw_only=True):
    """One latency limit in the run that confirmed a rate."""

    name: str
    """E.g. "TTFT p99"."""
    value: float
    """Measured, in `unit`."""
    limit: float
    """In `unit`."""
    unit: str
    headroom: float
    """Share of the limit that is left: 0.1 is 10% below it; negative: missed."""


class SearchResult(Struct, kw_only=True):
    """What a search found; all rates in queries/s of the whole cluster."""

    target_qps: float | None = None
    """`scenario.target_qps` of the fastest run that met the limits; None: none did."""
    sustained_qps: float | None = None
    """Rate at which its queries arrived: limits held, queue not growing. LoadGen draws
    arrivals, so it is some percent beside `target_qps`. None: no run was in a steady
    state."""
    valid_qps: float | None = None
    """Highest rate of arrivals of any run of full length that LoadGen calls VALID."""
    estimate_qps: float | None = None
    """Highest rate that holds the limits in the long run, from all runs."""
    low_qps: float | None = None
    """95% interval of it."""
    high_qps: float | None = None
    goodput_qps: float | None = None
    """Completed queries/s that kept every limit by themselves, in that run."""
    limiting: str = ""
    """The limit with the least headroom in that run."""
    limits: list[LimitResult] = field(default_factory=list)
    """Of that run."""
    queries: int | None = None
    """Queries of that run."""
    notes: list[str] = field(default_factory=list)
    """What the reader should know, one sentence each."""


class Campaign(Struct, kw_only=True):
    """A campaign in its current state."""

    kind: str
    """Which campaign, e.g. scaling."""
    command: list[str]
    """Words of the command, secrets masked."""
    scenario: str
    """E.g. server."""
    started: str
    """UTC, ISO 8601."""
    status: Status = "running"
    expected_end_s: float | None = None
    """When it is expected to end, by the runs so far, in s since the epoch; None: not
    known."""
    sizes: list[CampaignSize] = field(default_factory=list)
    """Results by number of replicas."""
    runs: list[CampaignRun] = field(default_factory=list)
    """In the order in which they ended."""
    search: SearchResult | None = None
    """Of `campaigns.search`."""


def read_campaign(root: Path) -> Campaign:
    """Return the record in the campaign's folder `root`.

    Raises:
        RecordError: it is missing or damaged.
    """
    return read_json(root / NAME, Campaign)
