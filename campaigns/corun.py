"""`mlperf-sut corun NAME: OPTION... NAME: OPTION...`: several models at once.

Two or more workloads share one cluster. Each has its own model, data, scenario and
rate. Their LoadGen clocks start at the same moment, and each workload is judged by its
own LoadGen. Every workload also runs alone, and the report compares both:
  mlperf-sut corun repeats=3
      chat:  model=custom model.path=A scenario=server scenario.target_qps=4 gpus=0
      batch: model=custom model.path=B scenario=offline gpus=0

Options before the first NAME: apply to all runs. Options of this command (all options
of `mlperf-sut run` also apply):
  repeats=3         rounds; each has every workload alone and all together
  seed=0            seed of the order inside the rounds
  run.dir=DIR       folder of the corun (default: runs/<UTC time>-corun); the same
                    command with the same folder resumes an interrupted corun
  --dry-run         list the runs and start nothing
After a NAME:
  gpus=0,1          GPUs of this workload (CUDA_VISIBLE_DEVICES); default: all. Two
                    workloads on one GPU need engine.options.gpu_memory_utilization
  cores=0-3,8       cores of this workload; default: all

Writes corun.json and corun.md; each run has its own folder and report.

Exit codes: 0 every workload was measured alone and together, 1 some were not, 2 bad
input, 3 interrupted.
"""

from base.command import run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("campaigns.corun")

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from base.barrier import Barrier
from base.child import Children, Ended, Job, module_command, module_environment
from base.errors import ExitCode, UserError
from base.log import logger
from campaigns.corun_plan import check_cores, configurations, parse, steps
from campaigns.corun_record import NAME, Corun, CorunRun, Workload
from campaigns.corun_result import write_results
from campaigns.folders import damaged, interrupted, make_root
from record.folder import RecordError, RunFolder, read_json, write_json
from record.structs import Verdict

_LOG = logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(lambda: _command(given))


def _command(arguments: Sequence[str]) -> int:
    if not arguments or "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return ExitCode.GOOD if arguments else ExitCode.BAD_INPUT
    options = parse(arguments)
    corun = Corun(
        shared=options.shared,
        workloads=options.workloads,
        repeats=options.repeats,
        seed=options.seed,
    )
    configurations(corun)
    if options.dry_run:
        print("\n".join(_described(corun)))
        return ExitCode.GOOD
    check_cores(corun)
    root = make_root(options.root, "corun")
    corun = _resumed(root, corun)
    with Children() as children:
        try:
            _run_all(root, corun, children)
        finally:
            if corun.runs:
                print(write_results(root, corun))
    _LOG.info("corun: %s", root)
    complete = all(
        result.rounds == corun.repeats and result.measures for result in corun.results
    )
    return ExitCode.GOOD if complete else ExitCode.NOT_GOOD


def _described(corun: Corun) -> list[str]:
    """Return the lines of a dry run."""
    todo = list(steps(corun))
    lines = [f"{len(todo)} steps in {corun.repeats} rounds, in this order:"]
    lines += [f"  round {number + 1}: {' + '.join(names)}" for number, names in todo]
    for workload in corun.workloads:
        lines.append(f"{workload.name}: {' '.join([*corun.shared, *workload.options])}")
        if workload.gpus is not None:
            lines.append(f"  GPUs {workload.gpus}")
        if workload.cores is not None:
            lines.append(f"  cores {', '.join(map(str, workload.cores))}")
    return lines


def _resumed(root: Path, planned: Corun) -> Corun:
    """Return the corun of the folder `root`, if it has one; else the planned one.

    Raises:
        UserError: the folder holds another corun.
    """
    found = interrupted(root, NAME, Corun)
    if found is None:
        return planned
    if problem := found.problem():
        raise damaged(root, NAME, problem)
    if (found.shared, found.workloads) != (planned.shared, planned.workloads):
        raise UserError(
            f"run.dir={root} holds a corun with other options; name another folder"
        )
    found.repeats, found.seed = planned.repeats, planned.seed
    _LOG.info("resumed: %d runs are done", len(found.runs))
    return found


def left(corun: Corun) -> list[tuple[int, list[str]]]:
    """Return the steps that are to be made, in their order."""
    made = {(run.round, run.workload, run.together) for run in corun.runs}
    return [
        (number, names)
        for number, names in steps(corun)
        if (number, names[0], len(names) > 1) not in made
    ]


def _run_all(root: Path, corun: Corun, children: Children) -> None:
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
        _LOG.info(
            "== step %d of %d, round %d: %s",
            *(place, len(todo), number + 1, " + ".join(names)),
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
                    command=module_command("sut.main", *arguments),
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
