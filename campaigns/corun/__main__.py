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
  --quiet, --json   warnings and the result only; the result as one JSON object
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

from base.command import start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("campaigns.corun.__main__")

from collections.abc import Sequence
from pathlib import Path

from base.errors import ExitCode, UserError
from base.log import logger
from campaigns.command import campaign_command
from campaigns.corun.options import parse
from campaigns.corun.plan import check_cores, check_runs, configurations, steps
from campaigns.corun.record import NAME, Corun
from campaigns.corun.result import summary, write_results
from campaigns.corun.runs import campaign_runs, make_runs
from campaigns.folders import interrupted, make_root
from campaigns.output import Output, show
from campaigns.progress import CampaignFile
from campaigns.series import new_campaign
from record.campaign import Status

_LOG = logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return campaign_command(__doc__, _command, arguments, bare=False)


def _command(output: Output, arguments: Sequence[str]) -> int:
    options = parse(arguments)
    corun = Corun(
        shared=options.shared,
        workloads=options.workloads,
        repeats=options.repeats,
        seed=options.seed,
    )
    check_runs(corun)
    config = next(iter(configurations(corun).values()))
    if options.dry_run:
        print("\n".join(_described(corun)))
        return ExitCode.GOOD
    check_cores(corun)
    root = make_root(options.root, "corun")
    corun = _resumed(root, corun)
    file = CampaignFile(root=root, campaign=new_campaign("corun", arguments, config))
    status: Status = "interrupted"
    text = ""
    with output.children() as children:
        try:
            make_runs(root, corun, children, file)
            status = "not good"
        finally:
            if corun.runs:
                text = write_results(root, corun)
            if status == "not good" and _is_complete(corun):
                status = "good"
            file.end(status, campaign_runs(root, corun))
            if corun.runs:
                show(output, summary(root, corun, status), text)
    _LOG.info("corun: %s", root)
    return ExitCode.GOOD if status == "good" else ExitCode.NOT_GOOD


def _is_complete(corun: Corun) -> bool:
    """Return whether every workload was measured alone and together."""
    return all(
        result.rounds == corun.repeats and result.measures for result in corun.results
    )


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
    if (found.shared, found.workloads) != (planned.shared, planned.workloads):
        raise UserError(
            f"run.dir={root} holds a corun with other options; name another folder"
        )
    found.repeats, found.seed = planned.repeats, planned.seed
    _LOG.info("resumed: %d runs are done", len(found.runs))
    return found
