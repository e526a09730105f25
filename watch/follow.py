"""Chooses the run to watch, and moves on to the next one of a campaign."""

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from base.errors import UserError
from record.campaign import NAME, Campaign, read_campaign
from record.find import is_campaign, is_run, newest_run
from record.folder import RecordError, RunFolder
from record.status import is_abandoned
from watch.live_run import LiveRun
from watch.timeline import Timeline

_CAMPAIGN_SILENT_S = 1800.0
"""Loading a model and compiling it are silent, too."""


@dataclass(slots=True)
class Follower:
    """The run that is watched now; call `refresh` about once a second.

    Raises:
        UserError: there is no run.
    """

    given: Path
    """A run, a campaign, or a folder of runs. The newest run in it is watched; of a run
    that belongs to a campaign, the campaign's newest."""
    run: LiveRun = field(init=False)
    campaign: Campaign | None = field(default=None, init=False)
    _root: Path | None = field(init=False)
    """Where newer runs appear; None: only this run."""

    def __post_init__(self) -> None:
        """Find the run."""
        path = self.given.resolve()
        if is_run(path):
            self._root = path.parent if is_campaign(path.parent) else None
        elif path.is_dir():
            self._root = path
        else:
            raise UserError(f"{self.given}: no such folder; name a run or a campaign")
        newest = path if is_run(path) else newest_run(path)
        if newest is None:
            raise UserError(
                f"{self.given}: no run in it; start one, or name the folder of a run"
            )
        self._open(newest)

    def refresh(self) -> None:
        """Read what is new; move on if a newer run was started."""
        if self._root is not None:
            newest = newest_run(self._root)
            if newest is not None and newest != self.run.folder.path:
                self._open(newest)
        self.run.refresh()
        self._read_campaign(self.run.folder.path.parent)

    @property
    def ended(self) -> bool:
        """Whether the run has ended, and no campaign makes another one."""
        if self.campaign is not None and self.campaign.status == "running":
            # Between two runs nothing is written; a campaign that was killed writes
            # nothing for ever.
            return self._silent_s() > _CAMPAIGN_SILENT_S
        status = self.run.status
        if status is not None:
            return status.state == "finished" or self.abandoned
        return self.run.folder.verdict.exists()

    @property
    def abandoned(self) -> bool:
        """Whether the run was killed: it has no end, and nothing writes one."""
        status = self.run.status
        if status is None or self.run.folder.verdict.exists():
            return False
        return is_abandoned(status, time.time_ns())

    @property
    def campaign_left_s(self) -> float | None:
        """Seconds until the campaign's expected end; None: not known."""
        if self.campaign is None or self.campaign.expected_end_s is None:
            return None
        return max(0.0, self.campaign.expected_end_s - time.time())

    def _silent_s(self) -> float:
        """Return for how long neither the run nor its campaign has written."""
        folder = self.run.folder
        newest = 0.0
        for path in (folder.status, folder.path.parent / NAME, folder.path):
            with contextlib.suppress(OSError):
                newest = max(newest, path.stat().st_mtime)
        return time.time() - newest

    def _open(self, path: Path) -> None:
        self.run = LiveRun(RunFolder(path), Timeline())
        self._read_campaign(path.parent)

    def _read_campaign(self, root: Path) -> None:
        try:
            self.campaign = read_campaign(root)
        except RecordError:
            self.campaign = None
