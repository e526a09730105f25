"""`mlperf-sut campaign search scenario=server ...`: the highest rate in few runs.

Finds the highest arrival rate that meets the latency limits: MLPerf's (run=full), those
of run.ttft_ms, run.tpot_ms and run.latency_percentile, or your own. The search runs a
probe, forecasts the rate from the probe's engine steps, and confirms it with one or two
runs of full length. It stops a run early if the run can no longer meet the limits: more
queries are above a limit than its percentile allows for the whole run.

Options of this command (all options of `mlperf-sut run` also apply):
  ttft_p99_ms=200     your own limit; also tpot_p90_ms=, e2e_p95_ms=, any percentile
  goodput=0.95        share of queries that must keep all of goodput.ttft_ms=,
                      goodput.tpot_ms= and goodput.e2e_ms= at once
  length_s=300        length of each confirmation in s of arrivals (default: 60 s, or
                      longer where a steady state or a percentile needs it)
  queries=1000        or its number of queries
  --quiet, --json     warnings and the result only; the result as one JSON object
  run.dir=DIR         folder for the search (default: runs/<UTC time>-search); the
                      folder of an interrupted search with the same options resumes it

The result is one line, `search` in campaign.json, and the report. `sustained rate`: the
run met the limits and its queue did not grow. `VALID rate`: LoadGen calls the run
VALID.

Exit codes: 0 a rate was confirmed, 1 none was, 2 bad input, 3 interrupted.
Completed runs are always kept and reported.
"""

from base.command import start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("campaigns.search.__main__")

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.benchmark import SERVER_SCENARIOS
from base.errors import Aborted, ExitCode, NotGood, UserError
from base.log import logger
from campaigns.command import campaign_command
from campaigns.conclusion import conclude
from campaigns.folders import make_root, new_root
from campaigns.options import (
    number_option,
    refuse_repeated,
    refuse_unknown,
    whole_option,
)
from campaigns.output import Output
from campaigns.own_limits import is_limit, parse_limits
from campaigns.search.forecast_search import ForecastSearch, RunLength
from campaigns.search.runner import SearchRunner
from campaigns.series import (
    RunSeries,
    cores_per_replica,
    new_campaign,
)
from conf.engines import EndpointConfig
from conf.load import load_config
from conf.schema import Config, RunKind
from conf.secrets import masked_arguments
from forecast.limits import Limits
from record.campaign import (
    NAME,
    CampaignRun,
    CampaignSize,
    SearchResult,
    read_campaign,
)
from scenarios.rules import datacenter_model, official_limits, rules
from scenarios.schedule import ServerSchedule

_LOG = logger(__name__)

_OWN = ("length_s", "queries", "goodput", "run.dir")


@dataclass(slots=True, kw_only=True)
class SearchOptions:
    """What the command line asks for."""

    length: RunLength = field(default_factory=RunLength)
    """Of each confirmation."""
    limits: Limits | None = None
    """The user's own; None: those of the runs."""
    root: Path | None = None
    """Folder of the search; None: a new one."""
    overrides: list[str] = field(default_factory=list)
    """Options of every run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return campaign_command(__doc__, _command, arguments)


def parse(arguments: Sequence[str]) -> SearchOptions:
    """Return the options on the command line.

    Raises:
        UserError: a value is missing or makes no sense.
    """
    refuse_repeated(arguments)
    options = SearchOptions()
    own = [text for text in arguments if is_limit(text)]
    options.limits = parse_limits(own)
    queries, seconds = None, None
    for text in arguments:
        key, _, value = text.partition("=")
        if text in own:
            continue
        if key == "length_s":
            seconds = number_option(text, "300")
        elif key == "queries":
            queries = whole_option(text, at_least=1)
        elif key == "run.dir" and value:
            options.root = Path(value)
        elif key in ("run.min_queries", "run.min_duration_s"):
            raise UserError(f"{text}: write queries= or length_s=, the search's own")
        else:
            refuse_unknown(text, _OWN, "mlperf-sut campaign search")
            options.overrides.append(text)
    if queries is not None and seconds is not None:
        raise UserError("length_s= and queries= set the same; give one of them")
    options.length = RunLength(queries=queries, seconds=seconds)
    return options


def _command(output: Output, arguments: Sequence[str]) -> int:
    options = parse(arguments)
    config = load_config(options.overrides)
    _refuse(options, config)
    length, limits = options.length, options.limits
    if config.run.kind is RunKind.full:
        length = RunLength(by_rules=_full_queries(config))
        limits = _full_limits(config, limits)
    root, earlier = _root(options, arguments)
    size = config.cluster.replicas or 1
    with output.children() as children:
        series = RunSeries(
            root=root,
            campaign=new_campaign("search", arguments, config),
            children=children,
            overrides=options.overrides,
            cores_per_replica=cores_per_replica(size, config),
            output=output,
        )
        series.save()
        runner = SearchRunner(
            series=series,
            config=config,
            size=size,
            limits=limits,
            length=length,
            earlier=earlier,
        )
        search = ForecastSearch(make=runner, limits=limits, length=length)
        return _find(search, series, size)


def _refuse(options: SearchOptions, config: Config) -> None:
    """Refuse what has no rate to search, before any run.

    Raises:
        UserError: it has none.
    """
    if config.scenario.name not in SERVER_SCENARIOS:
        raise UserError(
            f"scenario={config.scenario.name.value} has no arrival rate; write"
            " scenario=server or scenario=interactive"
        )
    if isinstance(config.engine, EndpointConfig):
        raise UserError(
            "engine=endpoint records no engine steps to forecast from; use"
            " mlperf-sut campaign scaling replicas=1"
        )
    if not config.run.steps:
        raise UserError("run.steps=false: a search forecasts from step records")
    if config.run.kind is RunKind.full and options.length.stated:
        raise UserError(
            "run=full: the rules fix the length; remove length_s= and queries="
        )


def _find(search: ForecastSearch, series: RunSeries, size: int) -> int:
    """Search, and write record and report; return the exit code.

    Raises:
        SutError: the search ended early; what was made is reported before.
    """
    campaign, result = series.campaign, search.result
    campaign.search = result
    reason = ""
    try:
        search.find()
        campaign.status = "good"
    except NotGood as error:
        campaign.status, reason = "not good", str(error)
    except (Aborted, UserError):
        campaign.status = "interrupted"
        if series.finished:
            conclude(series)
        series.save()
        raise
    own = [limit for limit in result.limits if limit.name == result.limiting]
    confirmed = campaign.status == "good"
    campaign.sizes = [
        CampaignSize(
            replicas=size,
            sustained_qps=result.sustained_qps,
            valid_qps=result.valid_qps,
            low_qps=result.low_qps,
            high_qps=result.high_qps,
            limiting=result.limiting or None,
            headroom=own[0].headroom if own else None,
            runs=sum(run.holds for run in search.runs[1:]),
            reason="" if confirmed else f"no rate was confirmed: {reason}",
        )
    ]
    conclude(series, result_line(result, reason))
    return ExitCode.GOOD if confirmed else ExitCode.NOT_GOOD


def result_line(result: SearchResult, reason: str = "") -> str:
    """Return the result in one line."""
    interval = ""
    if result.estimate_qps is not None:
        interval = (
            f"; highest rate in the long run {result.estimate_qps:.4g} queries/s"
            f" (95% interval {result.low_qps:.4g} to {result.high_qps:.4g})"
        )
    if result.target_qps is None:
        return f"no rate confirmed: {reason}{interval}"
    words = [f"scenario.target_qps={result.target_qps:.5g}"]
    if result.sustained_qps is not None:
        words.append(f"sustained rate {result.sustained_qps:.4g} queries/s")
    if result.valid_qps is not None:
        words.append(f"VALID rate {result.valid_qps:.4g} queries/s")
    for limit in result.limits:
        if limit.name == result.limiting:
            words.append(
                f"limited by {limit.name} ({limit.value:,.4g} of {limit.limit:,.4g}"
                f" {limit.unit}, headroom {100 * limit.headroom:.1f}%)"
            )
    return ", ".join(words) + interval


def _full_limits(config: Config, own: Limits | None) -> Limits:
    """Return the limits of the rules, and the user's own beside them."""
    official = official_limits(config.scenario.name)
    return Limits(
        ttft_s=official.ttft_s,
        tpot_s=official.tpot_s,
        percentile=official.percentile,
        early_stopping=True,
        more=() if own is None else own.more,
        goodput=None if own is None else own.goodput,
    )


def _full_queries(config: Config) -> Callable[[float], int]:
    """Return how many queries LoadGen issues at a rate under the benchmark's rules."""
    official = rules(datacenter_model(config.scenario.name), "Server")
    schedule = ServerSchedule(
        seed=official["schedule_rng_seed"],
        pass_queries=official["performance_sample_count_override"],
        min_duration_s=official["min_duration_ms"] / 1000,
    )
    return lambda rate: schedule.arrivals(rate).queries


def _root(
    options: SearchOptions, arguments: Sequence[str]
) -> tuple[Path, list[CampaignRun]]:
    """Return the folder of the search, and the runs that are in it already.

    Raises:
        UserError: it holds another campaign, or one that is done.
        RecordError: the record in it is damaged.
    """
    wanted = options.root
    if wanted is not None:
        make_root(wanted, "search")
    if wanted is None or not (wanted / NAME).exists():
        return new_root(wanted, "search"), []
    earlier = read_campaign(wanted)
    command = ["python", "-m", "campaigns.search", *masked_arguments(arguments)]
    if earlier.command != command or earlier.status not in ("running", "interrupted"):
        raise UserError(
            f"run.dir={wanted} holds another campaign, or one that is done; name"
            " another folder"
        )
    return wanted, earlier.runs
