"""`mlperf-sut campaign scaling replicas=1,2,4 [scenario=offline ...]`: how it scales.

Runs the benchmark with several numbers of replicas (sizes) and writes the report. Every
size runs at least three times, and the order of sizes differs in each round. The sizes
always include one replica, the baseline.

Offline: each replica gets the same number of samples in every size, so all runs last
about equally long. Server and Interactive: the campaign first searches the highest
sustained rate of each size, starting at scenario.target_qps for each replica. Then it
confirms the rate with repeated runs. A rate is sustained if the run met the latency
limits and its queue did not grow. The campaign computes how long a run must be to show
that.

Options of this command (all options of `mlperf-sut run` also apply):
  replicas=1,2,4    sizes
  runs=3            runs of each size, three at least
  samples=INT       samples for each replica (default: the largest size gets the data
                    set, or run.min_queries, once); Server: the least, since the rate
                    may need more
  tolerance=0.05    Server: largest relative error of the rate that is found
  longest_s=600     Server: longest run that may be planned, in s of arrivals
  seed=0            seed of the order of runs
  --quiet, --json   warnings and the result only; the result as one JSON object
  run.dir=DIR       folder for the campaign (default: runs/<UTC time>-scaling)

Exit codes: 0 every size has its result, 1 finished but a size has none, 2 bad input,
3 interrupted. Completed runs are always kept and reported.
"""

from base.command import start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("campaigns.scaling.__main__")

from collections.abc import Sequence

from base.benchmark import SERVER_SCENARIOS
from base.errors import Aborted, ExitCode, UserError
from base.log import logger
from campaigns.command import campaign_command
from campaigns.conclusion import conclude
from campaigns.folders import new_root
from campaigns.output import Output
from campaigns.scaling.options import CampaignOptions, parse
from campaigns.scaling.repeated_runs import repeat_runs
from campaigns.scaling.sustained_rates import find_rates
from campaigns.series import RunSeries, cores_per_replica, new_campaign
from conf.load import load_config
from conf.schema import Config

_LOG = logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return campaign_command(__doc__, _command, arguments)


def _command(output: Output, arguments: Sequence[str]) -> int:
    options = parse(arguments)
    config = load_config([*options.overrides, f"cluster.replicas={options.sizes[0]}"])
    # What the largest size cannot have is refused before any run is made.
    load_config([*options.overrides, f"cluster.replicas={options.sizes[-1]}"])
    root = new_root(options.root, "scaling")
    with output.children() as children:
        series = RunSeries(
            root=root,
            campaign=new_campaign("scaling", arguments, config),
            children=children,
            overrides=options.overrides,
            cores_per_replica=cores_per_replica(max(options.sizes), config),
            output=output,
        )
        series.save()
        return run_campaign(options, config, series)


def run_campaign(options: CampaignOptions, config: Config, series: RunSeries) -> int:
    """Make all runs, the report and the summary; return the exit code.

    Raises:
        SutError: the campaign ended early; what was made is reported before.
    """
    campaign = series.campaign
    try:
        if config.scenario.name in SERVER_SCENARIOS:
            campaign.sizes = find_rates(options, config, series)
        else:
            campaign.sizes = repeat_runs(options, config, series)
    except (Aborted, UserError):
        campaign.status = "interrupted"
        if series.finished:
            conclude(series)
        series.save()
        raise
    without = [size for size in campaign.sizes if size.reason]
    campaign.status = "not good" if without else "good"
    complete = conclude(series)
    for size in without:
        _LOG.info("%d replica(s): %s", size.replicas, size.reason)
    return ExitCode.GOOD if complete and not without else ExitCode.NOT_GOOD
