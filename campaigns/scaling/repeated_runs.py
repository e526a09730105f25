"""Repeats a load without a rate on each number of replicas: Offline, SingleStream."""

import math

from base.benchmark import ScenarioName
from campaigns.scaling.options import CampaignOptions
from campaigns.series import RunSeries, interleaved_order
from conf.schema import Config, RunKind
from qsl.dataset import load_dataset
from record.campaign import CampaignSize


def repeat_runs(
    options: CampaignOptions, config: Config, series: RunSeries
) -> list[CampaignSize]:
    """Make the runs of a scenario without a rate."""
    each = _samples_per_replica(options, config)
    order = list(interleaved_order(options.sizes, options.runs, options.seed))
    for done, (_, size) in enumerate(order):
        left = series.expect(
            [
                (one, None, None if each is None else each * one)
                for _, one in order[done:]
            ]
        )
        series.run(
            size,
            "repeat",
            queries=None if each is None else each * size,
            note=f" of {len(order)}{left}",
        )
    return [_result(size, series) for size in options.sizes]


def _samples_per_replica(options: CampaignOptions, config: Config) -> int | None:
    """Return how many samples each replica has; None where the rules fix them all."""
    if options.samples is not None:
        return options.samples
    if config.run.kind is RunKind.full:
        return None
    if config.scenario.name is ScenarioName.singlestream:
        return None
    total = config.run.min_queries or len(load_dataset(config.dataset))
    return max(1, math.ceil(total / max(options.sizes)))


def _result(size: int, series: RunSeries) -> CampaignSize:
    own = [made for made in series.finished if made.record.replicas == size]
    bad = [made for made in own if not made.record.counts]
    return CampaignSize(
        replicas=size,
        runs=len(own) - len(bad),
        reason=f"{bad[0].record.run} did not pass: {bad[0].record.reason}"
        if bad
        else "",
    )
