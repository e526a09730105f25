"""`mlperf-sut qualify`: is this cluster fit?

Measures each replica alone on its node, then all together, in Offline and in Server;
compares the answers of all replicas; and reads the health of their devices. Each
replica and each node passes or fails, with the reason. A replica fails if it

  - does not start, or is lost in a run
  - is slower alone than its peers, than the reference file, or than in its own earlier
    qualifications
  - is slower with all other replicas at work than alone
  - misses a latency limit of Server, or is slower per token than its peers there
  - answers differently from the others
  - has a device with a fault: XIDs, memory errors, links that are down

A check that fails is measured again, and the median counts.

  mlperf-sut qualify experiment=hopper_offline model=llama3_1-8b model.path=...
  mlperf-sut qualify cluster=ray cluster.replicas=16 ...

Options of this command (all options of `mlperf-sut run` also apply):
  samples=INT        samples of each replica in an Offline run (default: the data set
                     once, 4,000 at most)
  queries=INT        queries of each replica in a Server run (default: one minute of
                     arrivals)
  rate=QPS           Server: queries/s of each replica (default: 60% of the median
                     Offline samples/s of a replica alone)
  answers=INT        prompts of a run that compares answers (default: 64 for each
                     replica)
  tolerance=0.05     how much slower than its peers, the reference or its own past a
                     replica may be; twice that with all others, and for TPOT
  confirm=2          how often a failed check is measured again
  offline.OPTION=V   an option of Offline runs only, e.g. offline.experiment=...
  server.OPTION=V    an option of Server runs only
  reference=FILE     reference speeds (default: those of this package)
  --make-reference FILE   write the speeds of the replicas that passed into a file
  history=DIR        folder that holds earlier qualifications (default: the folder
                     that holds the folder of this one)
  run.dir=DIR        folder (default: runs/<UTC time>-qualify); the same command with
                     the folder of an interrupted qualification resumes it
  --dry-run          list the runs and start nothing
  --quiet, --json    warnings and the result only; the result as one JSON object

Writes qualify.html, qualify.json and junit.xml.

Exit codes: 0 every replica and node passed, 1 at least one failed, 2 bad input,
3 interrupted.
"""

from base.command import start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("campaigns.qualify.__main__")

import time
from collections.abc import Sequence
from pathlib import Path

from base.errors import Aborted, ExitCode, UserError
from base.log import logger
from campaigns.command import campaign_command
from campaigns.folders import make_root, new_root
from campaigns.output import Output, show
from campaigns.qualify.checks import judge
from campaigns.qualify.options import QualifyOptions, parse
from campaigns.qualify.plan import planned_runs
from campaigns.qualify.record import (
    NAME,
    Qualification,
    QualifyRun,
    read_qualification,
)
from campaigns.qualify.reference import (
    KnownSpeeds,
    check_references,
    deciding,
    read_history,
    read_references,
    write_references,
)
from campaigns.qualify.result import as_text, summary, write_results
from campaigns.qualify.runs import QualifyRunner
from campaigns.series import RunSeries, cores_per_replica, new_campaign
from conf.schema import Config
from conf.secrets import masked_arguments
from qsl.dataset import load_dataset
from record.folder import RecordError
from sut.clusters.placement import place, this_host

_LOG = logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return campaign_command(__doc__, _command, arguments)


def _command(output: Output, arguments: Sequence[str]) -> int:
    options = parse(arguments)
    config = options.offline_config()
    size = _size(config)
    references = read_references(options.reference)
    if options.make_reference is not None:
        check_references(options.make_reference)
    if options.dry_run:
        print("\n".join(planned_runs(options, size)))
        return ExitCode.GOOD
    record = Qualification(
        command=["python", "-m", "campaigns.qualify", *masked_arguments(arguments)],
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        settings=deciding(config),
        tolerance=options.tolerance,
        samples=options.samples,
    )
    root, record, earlier = _root(options, record)
    campaign = new_campaign("qualify", arguments, config)
    history = read_history(options.history or root.resolve().parent, root, record)
    speeds = KnownSpeeds(record.settings, references, history)
    with output.children() as children:
        runner = QualifyRunner(
            options=options,
            series=RunSeries(
                root=root,
                campaign=campaign,
                children=children,
                overrides=options.overrides,
                cores_per_replica=cores_per_replica(size, config),
                output=output,
            ),
            record=record,
            earlier=earlier,
            size=size,
            rows=len(load_dataset(config.dataset)),
        )
        return _qualify(runner, speeds, options)


def _qualify(
    runner: QualifyRunner, speeds: KnownSpeeds, options: QualifyOptions
) -> int:
    """Make all runs and write the results; return the exit code.

    Raises:
        SutError: it ended early; the record of what was made is kept.
    """
    record, campaign = runner.record, runner.series.campaign
    try:
        runner.make_all(speeds)
    except (Aborted, UserError):
        judge(record, speeds)
        record.status = campaign.status = "interrupted"
        campaign.expected_end_s = None
        runner.save()
        runner.series.save()
        raise
    passed = record.status == "passed"
    campaign.status = "good" if passed else "not good"
    campaign.expected_end_s = None
    runner.series.save()
    page = write_results(runner.series.root, record)
    show(runner.series.output, summary(record, campaign.status, page), as_text(record))
    if options.make_reference is not None:
        made = write_references(options.make_reference, record)
        for one in made:
            low, high = one.offline_tokens_per_s
            _LOG.info(
                "%s: %s %s to %s tokens/s",
                options.make_reference,
                one.device,
                f"{low:,.4g}",
                f"{high:,.4g}",
            )
    return ExitCode.GOOD if passed else ExitCode.NOT_GOOD


def _size(config: Config) -> int:
    """Return the number of replicas of the whole cluster.

    Raises:
        UserError: it must be given, or this host has too few GPUs.
    """
    if config.cluster.replicas is not None and config.cluster.name != "local":
        return config.cluster.replicas
    if config.cluster.name != "local":
        raise UserError(
            f"cluster={config.cluster.name}: give the number of replicas of the whole"
            " cluster, e.g. cluster.replicas=16"
        )
    return len(place(config.cluster, [this_host()], keep_shares=False))


def _root(
    options: QualifyOptions, record: Qualification
) -> tuple[Path, Qualification, list[QualifyRun]]:
    """Return the folder, the record, and the runs that are in it already.

    Raises:
        UserError: it holds another campaign, one that is done, or a damaged record.
    """
    wanted = options.root
    if wanted is not None:
        make_root(wanted, "qualify")
    if wanted is None or not (wanted / NAME).exists():
        return new_root(wanted, "qualify"), record, []
    try:
        known = read_qualification(wanted)
    except RecordError as error:
        raise UserError(f"{error}; name another run.dir") from error
    same = _without_folder(known.command) == _without_folder(record.command)
    if not same or known.status in ("passed", "failed"):
        raise UserError(
            f"run.dir={wanted} holds another qualification, or one that is done; name"
            " another folder"
        )
    _LOG.info("resumed: %d runs are done", len(known.runs))
    record.started = known.started
    return wanted, record, known.runs


def _without_folder(command: Sequence[str]) -> list[str]:
    return [word for word in command if not word.startswith("run.dir=")]
