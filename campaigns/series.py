"""Runs `mlperf-sut run` again and again, and records what each run showed."""

import os
import random
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from base.child import Children, Ended, module_command, module_environment
from base.errors import Aborted, ExitCode, UserError
from base.log import is_quiet, logger
from campaigns.outcome import Trial, read_trial
from campaigns.output import Output
from campaigns.progress import expect_end, left_words, time_left
from conf.schema import Config
from conf.secrets import masked_arguments
from record.campaign import NAME, Campaign, CampaignRun, Phase
from record.folder import RecordError, write_json
from report.reading.folder import read_run
from report.reading.run import Run

_LOG = logger(__name__)


@dataclass(slots=True, kw_only=True)
class FinishedRun:
    """One run that has ended."""

    record: CampaignRun
    """Its line in the record of the campaign."""
    folder: Path
    """Its run folder."""
    trial: Trial
    """What it showed about its rate."""


@dataclass(slots=True, kw_only=True)
class RunSeries:
    """Makes the runs of one campaign, one after another."""

    root: Path
    """Folder of the campaign; each run makes its own in it."""
    campaign: Campaign
    """Its record, written after each run."""
    children: Children
    """Processes of the campaign."""
    overrides: Sequence[str]
    """Options of every run."""
    cores_per_replica: int
    """Cores that each replica gets in every size."""
    output: Output = field(default_factory=Output)
    finished: list[FinishedRun] = field(default_factory=list)
    """Runs in the order in which they ended."""
    clock: Callable[[], float] = time.monotonic
    """Seconds of a monotonic clock."""

    def run(
        self,
        size: int,
        phase: Phase,
        *,
        rate: float | None = None,
        queries: int | None = None,
        note: str = "",
        progress: str = "",
    ) -> FinishedRun:
        """Make one run to its end.

        Args:
            size: number of replicas.
            phase: what the run is for.
            rate: arrival rate in queries/s; None: as the scenario has it.
            queries: fewest queries; None: as the configuration has it.
            note: what the user reads beside the run's number.
            progress: what the user reads at the end of the run's line.

        Raises:
            UserError: the run refused its configuration.
            Aborted: a signal came, or the run left no folder.
        """
        changes = [f"cluster.replicas={size}"]
        if queries is not None:
            changes.append(f"run.min_queries={queries}")
        if rate is not None:
            changes.append(f"scenario.target_qps={rate:.6g}")
        self.announce(size, phase, rate, queries, note, progress)
        begin = self.clock()
        folder = self.launch(changes, size)
        trial = read_trial(folder)
        record = CampaignRun(
            run=folder.name,
            replicas=size,
            phase=phase,
            rate=rate,
            queries=queries,
            seconds=round(self.clock() - begin, 3),
            counts=trial.sustained if rate is not None else trial.within_limits,
            reason=_reason(trial, rate),
        )
        return self.add(FinishedRun(record=record, folder=folder, trial=trial))

    def launch(
        self,
        changes: Sequence[str],
        size: int,
        hopeless: Callable[[Path], bool] | None = None,
    ) -> Path:
        """Make one run to its end; return its folder.

        Args:
            changes: options, in the place of the campaign's own of the same name.
            size: number of replicas, for the cores that the run may use.
            hopeless: whether the run in a folder is to be stopped early.

        Raises:
            UserError: the run refused its configuration.
            Aborted: a signal came, or the run left no folder.
        """
        ended = self.start(changes, size, hopeless)
        if ended.code == ExitCode.BAD_INPUT:
            raise UserError(f"the run with {size} replica(s) was refused; see above")
        if ended.folder is None:
            raise Aborted(
                f"the run with {size} replica(s) ended with exit code {ended.code} and"
                " left no run folder"
            )
        return ended.folder

    def start(
        self,
        changes: Sequence[str],
        size: int,
        hopeless: Callable[[Path], bool] | None = None,
    ) -> Ended:
        """Make one run to its end; return how it ended. Arguments as of `launch`.

        Raises:
            Aborted: a signal came.
        """
        given = [*self.overrides, f"run.dir={self.root}"]
        names = {text.partition("=")[0] for text in changes}
        kept = [text for text in given if text.partition("=")[0] not in names]
        with self._cores(size):
            return run_child(self.children, [*kept, *changes], hopeless)

    def add(self, made: FinishedRun) -> FinishedRun:
        """Record a run that has ended."""
        self.finished.append(made)
        self.campaign.runs.append(made.record)
        self.save()
        if made.record.reason:
            _LOG.info("   does not count: %s", made.record.reason)
        return made

    def save(self) -> None:
        """Write the campaign's record.

        Raises:
            OSError: it cannot be written.
        """
        write_json(self.root / NAME, self.campaign)

    def expect(self, left: Sequence[Hashable]) -> str:
        """Record when the campaign is expected to end; return the time left in words.

        Args:
            left: (replicas, rate, queries) of each run that is left, as `CampaignRun`
                has them.
        """
        made = [
            ((m.record.replicas, m.record.rate, m.record.queries), m.record.seconds)
            for m in self.finished
        ]
        seconds = time_left(made, left)
        expect_end(self.campaign, seconds)
        self.save()
        return left_words(seconds)

    def readable(self) -> list[Run]:
        """Return the runs that can be read; name those that cannot on stderr."""
        runs = []
        for made in self.finished:
            try:
                runs.append(read_run(made.folder))
            except RecordError as error:
                _LOG.warning("left out of the report: %s", error)
        return runs

    def announce(
        self,
        size: int,
        phase: Phase,
        rate: float | None,
        queries: int | None,
        note: str = "",
        progress: str = "",
    ) -> None:
        """Log what the next run is."""
        words = [f"{size} replica(s)"]
        if rate is not None:
            words.append(f"{rate:.4g} queries/s")
        if queries is not None:
            words.append(f"{queries:,} queries")
        if rate and queries:
            words.append(f"about {queries / rate:,.0f} s of arrivals")
        _LOG.info(
            "== run %d%s (%s): %s%s",
            len(self.finished) + 1,
            note,
            phase,
            ", ".join(words),
            f"; {progress}" if progress else "",
        )

    @contextmanager
    def _cores(self, size: int) -> Iterator[None]:
        """Let the run see as many cores as its replicas are due."""
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, sorted(cores)[: size * self.cores_per_replica])
        try:
            yield
        finally:
            os.sched_setaffinity(0, cores)


def run_command_line(arguments: Sequence[str]) -> list[str]:
    """Return the command of a run; it is as quiet as this process."""
    return module_command("sut.main", *arguments, *(["--quiet"] if is_quiet() else []))


def run_child(
    children: Children,
    arguments: Sequence[str],
    hopeless: Callable[[Path], bool] | None = None,
) -> Ended:
    """Make one run to its end; return how it ended.

    Args:
        children: of the campaign.
        arguments: of the run.
        hopeless: whether the run in a folder is to be stopped early.

    Raises:
        Aborted: a signal came.
    """
    command = run_command_line(arguments)
    watch = {} if hopeless is None else {"hopeless": hopeless}
    ended = children.run(command, module_environment(), **watch)
    children.check()
    return ended


def _reason(trial: Trial, rate: float | None) -> str:
    if trial.stop_reason:
        return trial.stop_reason
    if rate is None:
        return "" if trial.within_limits else "LoadGen calls it INVALID"
    if trial.sustained:
        return ""
    if trial.too_few:
        return "too few queries for LoadGen to judge latency"
    if not trial.within_limits:
        return "the latency limits were exceeded"
    return trial.steady.reason


def interleaved_order(
    sizes: Sequence[int], rounds: int, seed: int
) -> Iterator[tuple[int, int]]:
    """Yield (round, size): every size once a round, in another order each round.

    What drifts (temperature, other work on the host) then falls on all sizes alike.
    """
    generator = random.Random(seed)
    for number in range(rounds):
        order = list(sizes)
        generator.shuffle(order)
        for size in order:
            yield number + 1, size


def new_campaign(kind: str, arguments: Sequence[str], config: Config) -> Campaign:
    """Return the record of a campaign that begins.

    Args:
        kind: name of its module.
        arguments: of its command.
        config: of its runs.
    """
    return Campaign(
        kind=kind,
        command=["python", "-m", f"campaigns.{kind}", *masked_arguments(arguments)],
        scenario=config.scenario.name.value,
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def cores_per_replica(largest: int, config: Config) -> int:
    """Return equal shares of the cores: a replica has as many in every size.

    Replicas of other hosts have those of their nodes.

    Args:
        largest: replicas of the largest size.
        config: of the runs.
    """
    cores = len(os.sched_getaffinity(0))
    if config.cluster.name != "local":
        return cores
    return max(1, cores // largest)
