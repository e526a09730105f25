"""Makes the runs of a corun, one process each, and reads how they ended."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from base.barrier import Barrier
from base.child import Children, Ended, Job, module_environment
from base.errors import ExitCode, UserError
from base.log import logger
from campaigns.corun.plan import left
from campaigns.corun.record import NAME, Corun, CorunRun, Workload
from campaigns.progress import CampaignFile, campaign_run, left_words, time_left
from campaigns.series import run_command_line
from record.campaign import CampaignRun
from record.folder import RecordError, RunFolder, read_json, write_json
from record.structs import Verdict

_LOG = logger(__name__)


def make_runs(root: Path, corun: Corun, children: Children, file: CampaignFile) -> None:
    """Make the runs that are missing.

    Raises:
        Aborted: a signal came.
        UserError: a run refused its configuration.
        OSError: the record cannot be written.
    """
    write_json(root / NAME, corun)
    todo = left(corun)
    by_name = {workload.name: workload for workload in corun.workloads}
    for place, (number, names) in enumerate(todo, 1):
        # Runs at once are one step, of which each has the seconds.
        left_s = time_left(
            [(run.together or run.workload, run.seconds) for run in corun.runs],
            [len(names) > 1 or names[0] for _, names in todo[place - 1 :]],
        )
        file.update(campaign_runs(root, corun), left_s)
        _LOG.info(
            "== step %d of %d, round %d: %s%s",
            *(place, len(todo), number + 1, " + ".join(names), left_words(left_s)),
        )
        begin = time.monotonic()
        ended = _run_step(root, corun, [by_name[name] for name in names], children)
        children.check()
        seconds = round(time.monotonic() - begin, 3)
        for name, one in zip(names, ended, strict=True):
            if one.code == ExitCode.BAD_INPUT:
                raise UserError(f"the run of {name} was refused; see above")
            made = _read(one, number, name, len(names) > 1, seconds)
            if made.reason:
                _LOG.info("   %s: %s", name, made.reason)
            corun.runs.append(made)
        write_json(root / NAME, corun)


def campaign_runs(root: Path, corun: Corun) -> list[CampaignRun]:
    """Return the runs that have a folder, as campaign.json records them."""
    return [
        campaign_run(root, run.run, run.seconds, run.reason)
        for run in corun.runs
        if run.run is not None
    ]


def _run_step(
    root: Path, corun: Corun, workloads: Sequence[Workload], children: Children
) -> list[Ended]:
    """Run the workloads at once; their clocks start together."""
    with tempfile.TemporaryDirectory(prefix="mlperf-sut-") as scratch:
        barrier = Barrier(Path(scratch), [workload.name for workload in workloads])
        jobs = []
        for workload in workloads:
            arguments = [*corun.shared, *workload.options, f"run.dir={root}"]
            environment = {
                **module_environment(),
                **barrier.environment(workload.name),
            }
            if workload.gpus is not None:
                environment["CUDA_VISIBLE_DEVICES"] = workload.gpus
            jobs.append(
                Job(
                    command=run_command_line(arguments),
                    env=environment,
                    cores=workload.cores,
                )
            )
        return children.run_together(jobs, barrier.update)


def _read(
    ended: Ended, number: int, name: str, together: bool, seconds: float
) -> CorunRun:
    made = CorunRun(
        round=number,
        workload=name,
        together=together,
        run=None if ended.folder is None else ended.folder.name,
        seconds=seconds,
        reason=f"exit code {ended.code} without a run folder; see above",
    )
    if ended.folder is None:
        return made
    try:
        verdict = read_json(RunFolder(ended.folder).verdict, Verdict)
    except RecordError as error:
        made.reason = str(error)
        return made
    made.valid = verdict.outcome == "passed" and ended.code == ExitCode.GOOD
    # A run that missed its latency limits beside another one is a result.
    lost = {"samples_lost", "samples_completed", "loadgen_errors"}
    failed = {check.name for check in verdict.failures}
    made.measured = verdict.outcome in ("passed", "failed") and not failed & lost
    made.reason = "" if made.valid else verdict.reason
    return made
