"""How far a campaign is: the time that its other runs take, and its `campaign.json`."""

import statistics
import time
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from record.campaign import NAME, Campaign, CampaignRun, Status
from record.folder import RecordError, RunFolder, read_json, write_json
from record.structs import ReplicaRecord
from report.wording import clock_time


def time_left(
    made: Iterable[tuple[Hashable, float]], left: Sequence[Hashable]
) -> float | None:
    """Return the seconds that the runs which are left take; None: not known yet.

    A run is expected to take the mean of the runs of its kind, or else the mean of all
    kinds. So a long run of one kind does not move the estimate of the others.

    Args:
        made: kind and seconds of each run that was made.
        left: kind of each run that is left.
    """
    kinds: dict[Hashable, list[float]] = defaultdict(list)
    for kind, seconds in made:
        kinds[kind].append(seconds)
    if not kinds:
        return None
    means = {kind: statistics.fmean(seconds) for kind, seconds in kinds.items()}
    usual = statistics.fmean(means.values())
    return sum(means.get(kind, usual) for kind in left)


def left_words(seconds: float | None) -> str:
    """Return the time left as the end of a line; empty: it is not known."""
    return "" if seconds is None else f", about {clock_time(seconds)} left"


def expect_end(campaign: Campaign, left_s: float | None) -> None:
    """Note in the record when the campaign is expected to end."""
    campaign.expected_end_s = None if left_s is None else round(time.time() + left_s, 1)


@dataclass(slots=True, kw_only=True)
class CampaignFile:
    """`campaign.json` of a campaign that has a record of its own.

    `mlperf-sut watch` and `mlperf-sut runs` read it.
    """

    root: Path
    campaign: Campaign

    def update(self, runs: Iterable[CampaignRun], left_s: float | None = None) -> None:
        """Write the runs that were made, and the seconds that the others take.

        Raises:
            OSError: it cannot be written.
        """
        self.campaign.runs = list(runs)
        expect_end(self.campaign, left_s)
        write_json(self.root / NAME, self.campaign)

    def end(self, status: Status, runs: Iterable[CampaignRun]) -> None:
        """Write that the campaign has ended.

        Raises:
            OSError: it cannot be written.
        """
        self.campaign.status = status
        self.update(runs)


def campaign_run(
    root: Path,
    name: str,
    seconds: float,
    reason: str,
    *,
    rate: str | None = None,
) -> CampaignRun:
    """Return a run of a campaign for `campaign.json`.

    Args:
        root: folder of the campaign.
        name: of the run's folder.
        seconds: that it took.
        reason: why it does not count; empty: it does.
        rate: `scenario.target_qps` of the run, if it has its own.
    """
    try:
        replicas = read_json(RunFolder(root / name).replicas, list[ReplicaRecord])
    except RecordError:
        replicas = []
    return CampaignRun(
        run=name,
        replicas=len(replicas),
        phase="repeat",
        rate=_number(rate),
        seconds=seconds,
        counts=not reason,
        reason=reason,
    )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
