"""`mlperf-sut campaign tune KNOB=VALUES ...`: the best settings, confirmed in pairs.

A knob is an option with several values or a range. The default setting has no knobs.
  OPTION=A,B,C             values, e.g. engine.options.block_size=16,32
  OPTION=LOW..HIGH         any number (whole if both ends are whole); :STEP or :log may
                           follow, e.g. max_num_batched_tokens=1024..8192:512
  max_num_batched_tokens, max_num_seqs, graph_sizes, balancer, replicas,
  tensor_parallel, dtype   short names of common knobs
If an option is also given with one value, the default setting has this value.

Three steps: one run of each setting that the simulator (forecasts) or Optuna proposes;
alternating runs of the best setting and the default; the same with other seeds of
LoadGen. Only the alternating runs count for the gain and its interval.

Options of this command (all options of `mlperf-sut run` also apply):
  objective=NAME    tokens_per_s, samples_per_s, tokens_per_s_per_device, ttft_ms_p99
                    (or tpot, latency; p50, p90), limit_load: the largest share of a
                    latency limit that is used. Default: tokens_per_s (Offline),
                    limit_load (Server, Interactive), latency_ms_p90 (SingleStream)
  where=CONDITION   condition on the settings, e.g.
                    where="max_num_seqs <= max_num_batched_tokens"
  ttft_p99_ms=200   your own limits, as in `mlperf-sut campaign search`
  runs=40           largest number of runs
  pairs=6           pairs of runs that confirm a gain
  seeds=3           other seeds of LoadGen that confirm it; 0: none
  budget_s=SECONDS  start no run that would end later, by the runs so far
  seed=0            seed of the proposals
  --quiet, --json   warnings and the result only; the result as one JSON object
  run.dir=DIR       folder (default: runs/<UTC time>-tune); the same command with the
                    same folder resumes an interrupted campaign
  --write PATH      write the best setting as an experiment, for experiment_file=PATH
  --accuracy        also run the accuracy run that the new setting needs
  --dry-run         print knobs, budget and time, and start nothing

Exit codes: 0 a better setting was found, 1 none was better beyond noise (or its
accuracy run did not pass), 2 bad input, 3 interrupted.
"""

from base.command import start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("campaigns.tune.__main__")

from collections.abc import Sequence
from pathlib import Path

from base.child import Children
from base.errors import ExitCode, NotGood, UserError
from base.log import logger
from campaigns.command import campaign_command
from campaigns.folders import interrupted, make_root
from campaigns.output import Output, show
from campaigns.progress import CampaignFile
from campaigns.series import new_campaign
from campaigns.sweep.points import Point, point_options
from campaigns.tune.experiment import accuracy_options, check_path, write_experiment
from campaigns.tune.forecast import ForecastSimulator, known_knobs
from campaigns.tune.measure import TuneRunner
from campaigns.tune.options import TuneOptions, allowed, load_point, parse
from campaigns.tune.proposals import OptunaProposer, check_optuna
from campaigns.tune.record import NAME, AccuracyCheck, Tune
from campaigns.tune.result import campaign_runs, shell, summary, write_page
from campaigns.tune.tuner import Tuner
from conf.engines import EndpointConfig
from conf.secrets import masked_arguments
from record.campaign import Status
from record.folder import RecordError, RunFolder, read_json, write_json
from record.structs import Verdict
from report.wording import clock_time

_LOG = logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return campaign_command(__doc__, _command, arguments, bare=False)


def _command(output: Output, arguments: Sequence[str]) -> int:
    options = parse(arguments)
    if options.write is not None:
        check_path(options.write)
    if options.dry_run:
        print("\n".join(_plan(options)))
        return ExitCode.GOOD
    for line in _plan(options):
        _LOG.info("%s", line)
    check_optuna()
    root = make_root(options.root, "tune")
    tune = _resumed(root, options)
    command = shell(["python", "-m", "campaigns.tune", *masked_arguments(arguments)])
    file = CampaignFile(
        root=root, campaign=new_campaign("tune", arguments, options.config)
    )
    with output.children() as children:
        status: Status = "interrupted"
        try:
            code = _tune(options, tune, root, children, command, file)
            status = "good" if code == ExitCode.GOOD else "not good"
        finally:
            file.end(status, campaign_runs(root, tune))
            show(output, summary(root, tune, status))
    return code


def _plan(options: TuneOptions) -> list[str]:
    """Return what the campaign would do, for the user to read."""
    knobs, effort = options.knobs, options.effort
    known = {knob.option for knob in known_knobs(knobs)}
    count = options.space.count
    size = "any number of" if count == float("inf") else f"{count:,.0f}"
    lines = [
        f"{len(knobs)} knobs, {size} settings; objective: {options.objective.name},"
        f" {options.objective.better} is better"
    ]
    lines += [
        f"  {knob}{' (the simulator predicts it)' if knob.option in known else ''}"
        for knob in knobs
    ]
    lines += [f"  where {condition.text}" for condition in options.where]
    lines.append(
        f"runs: {effort.runs} at most; {effort.screening} to screen,"
        f" {2 * effort.pairs} in pairs,"
        f" {effort.confirming - 2 * effort.pairs} in pairs with"
        f" {len(effort.seeds)} other seeds"
    )
    lines.append(f"time: {_time(options)}")
    return lines


def _time(options: TuneOptions) -> str:
    config, effort = options.config, options.effort
    rate, queries = config.scenario.target_qps, config.run.min_queries
    words = []
    if rate and queries and options.objective.name != "tokens_per_s":
        seconds = effort.runs * queries / rate
        words.append(
            f"{clock_time(seconds)} of arrivals at most, and the start of each run"
        )
    else:
        words.append("known after the first run")
    if effort.budget_s is not None:
        words.append(f"budget {clock_time(effort.budget_s)}")
    return "; ".join(words)


def _resumed(root: Path, options: TuneOptions) -> Tune:
    """Return the campaign of the folder `root`, if it has one; else a new one.

    Raises:
        UserError: the folder holds another campaign.
    """
    planned = Tune(
        shared=options.shared,
        knobs=[str(knob) for knob in options.knobs],
        where=[condition.text for condition in options.where],
        objective=options.objective.name,
        better=options.objective.better,
        limits=options.own_limits,
    )
    found = interrupted(root, NAME, Tune)
    if found is None:
        return planned
    for name in ("shared", "knobs", "where", "objective", "limits"):
        if getattr(found, name) != getattr(planned, name):
            raise UserError(
                f"run.dir={root} holds a campaign with other options ({name}); name"
                " another folder"
            )
    _LOG.info("resumed: %d runs are done", len(found.made))
    return found


def _tune(
    options: TuneOptions,
    tune: Tune,
    root: Path,
    children: Children,
    command: str,
    file: CampaignFile,
) -> int:
    """Make the campaign; return the exit code.

    Raises:
        SutError: it ended early; what was made is written before.
    """
    runner = TuneRunner(
        children=children,
        root=root,
        shared=options.shared,
        objective=options.objective,
        limits=options.limits,
    )
    tuner = Tuner(
        tune=tune,
        objective=options.objective,
        effort=options.effort,
        make=runner,
        propose=_proposer(options, root),
        save=lambda: _save(root, tune, options, file),
    )
    try:
        result = tuner.find()
    except NotGood as error:
        _LOG.warning("no result: %s", error)
        return ExitCode.NOT_GOOD
    finally:
        if tune.made:
            write_page(root, tune)
    good = result.better
    if good and options.accuracy:
        if result.accuracy is None:
            result.accuracy = _accuracy(options, result.point, runner)
        good = result.accuracy.passed
    write_json(root / NAME, tune)
    write_page(root, tune)
    if result.better and options.write is not None:
        write_experiment(options.write, root, tune, command)
        _LOG.info("experiment_file=%s", options.write)
    return ExitCode.GOOD if good else ExitCode.NOT_GOOD


def _save(root: Path, tune: Tune, options: TuneOptions, file: CampaignFile) -> None:
    """Write the record, and how far the campaign is.

    Raises:
        OSError: it cannot be written.
    """
    write_json(root / NAME, tune)
    file.update(campaign_runs(root, tune), options.effort.left_s(tune))


def _proposer(options: TuneOptions, root: Path) -> OptunaProposer:
    simulator = None
    known = known_knobs(options.knobs)
    records = options.config.run.steps
    if known and records and not isinstance(options.config.engine, EndpointConfig):
        simulator = ForecastSimulator(
            knobs=known,
            allowed=lambda point: allowed(options, point),
            objective=options.objective,
            limits=options.limits,
            folder=lambda name: root / name,
        )
    return OptunaProposer(space=options.space, seed=options.seed, simulator=simulator)


def _accuracy(options: TuneOptions, point: Point, runner: TuneRunner) -> AccuracyCheck:
    _LOG.info("== accuracy run")
    load_point(accuracy_options(options.shared), point)
    folder, code = runner.accuracy(
        [*accuracy_options(options.shared), *point_options(point)]
    )
    if folder is None:
        return AccuracyCheck(run=None, passed=False, reason=f"exit code {code}")
    try:
        reason = read_json(RunFolder(folder).verdict, Verdict).reason
    except RecordError as error:
        reason = str(error)
    passed = code == ExitCode.GOOD
    return AccuracyCheck(
        run=folder.name,
        passed=passed,
        reason="" if passed else reason or f"exit code {code}",
    )
