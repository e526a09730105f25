"""`mlperf-sut campaign scaling replicas=1,2,4 [scenario=offline ...]`: how it scales.

Makes runs of several sizes, each in a process of its own, and the report on them.
Every size is run at least three times, in an order that differs from round to round;
one replica is always among the sizes, as the baseline. Offline: each replica has as
many samples in every size, so that all runs last about equally long. Server and
Interactive: for each size the highest rate that the system sustains is searched first,
beginning at scenario.target_qps for each replica, and then confirmed by the repeated
runs. A rate is sustained where the latency limits were kept and the queue did not grow
in a run that was long enough to show it; the campaign works out how long that is.

Options of its own; all others are those of `mlperf-sut run`:
  replicas=1,2,4    sizes
  runs=3            runs of each size, three at least
  samples=INT       samples for each replica (default: the data set, or
                    run.min_queries, once in the largest size); Server: as the rate
                    asks for, and at least these
  tolerance=0.05    how far the rate that is found may lie beside the true one
  longest_s=600     Server: longest run that may be planned, in s of arrivals
  seed=0            of the order of runs
  run.dir=DIR       folder for the campaign (default: runs/<UTC time>-scaling)

Exit codes: 0 every size has its result, 1 finished but a size has none, 2 bad input,
3 interrupted. What was made is kept and reported whatever the exit code.
"""

from base.command import run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("campaigns.scaling")

import sys
from collections.abc import Sequence

from base.benchmark import SERVER_SCENARIOS
from base.child import Children
from base.errors import Aborted, ExitCode, UserError
from base.log import logger
from campaigns.conclusion import conclude
from campaigns.options import CampaignOptions, parse
from campaigns.repeated_runs import repeat_runs
from campaigns.series import RunSeries, cores_per_replica, new_campaign, new_root
from campaigns.sustained_rates import find_rates
from conf.load import load_config
from conf.schema import Config

_LOG = logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(lambda: _command(given))


def _command(arguments: Sequence[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return ExitCode.GOOD
    options = parse(arguments)
    config = load_config([*options.overrides, f"cluster.replicas={options.sizes[0]}"])
    # What the largest size cannot have is refused before any run is made.
    load_config([*options.overrides, f"cluster.replicas={options.sizes[-1]}"])
    root = new_root(options.root, "scaling")
    with Children() as children:
        series = RunSeries(
            root=root,
            campaign=new_campaign("scaling", arguments, config),
            children=children,
            overrides=options.overrides,
            cores_per_replica=cores_per_replica(max(options.sizes), config),
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
