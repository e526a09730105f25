"""Which runs a corun makes, in which order, and whether they can be made."""

import os
import random
from collections.abc import Iterator

from base.errors import UserError
from campaigns.corun.record import Corun
from conf.load import load_config
from conf.schema import Config, Mode, Weights
from qsl.dataset import load_dataset
from scenarios.planner import plan_scenario
from sut.fit import check_fits
from sut.launch import model_for


def configurations(corun: Corun) -> dict[str, Config]:
    """Return the configuration of each workload.

    Raises:
        UserError: one is not possible; the message names the workload.
    """
    found = {}
    for workload in corun.workloads:
        try:
            config = load_config([*corun.shared, *workload.options])
            if config.mode is not Mode.performance:
                raise UserError(
                    f"mode={config.mode.value}: a corun compares speeds, which this"
                    " mode does not measure; leave it out, and score the answers with"
                    f" mlperf-sut run mode={config.mode.value}"
                )
        except UserError as error:
            raise UserError(f"{workload.name}: {error}") from error
        found[workload.name] = config
    return found


def check_runs(corun: Corun) -> None:
    """Check that data, model and rules allow the run of each workload.

    Raises:
        UserError: they do not; the message names the workload.
    """
    for name, config in configurations(corun).items():
        try:
            dataset = load_dataset(config.dataset)
            plan_scenario(config, len(dataset))
            # The default model's files are only written by its first run.
            if config.model.weights is not Weights.smollm2_wheel:
                check_fits(config, model_for(config, lambda _: None), dataset)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error


def check_cores(corun: Corun) -> None:
    """Check that this process may use the cores of each workload.

    Raises:
        UserError: it may not use one of them.
    """
    known = os.sched_getaffinity(0)
    for workload in corun.workloads:
        if absent := set(workload.cores or ()) - known:
            raise UserError(
                f"{workload.name}: cores= has core {min(absent)}; this process may use"
                f" {', '.join(map(str, sorted(known)))}"
            )


def steps(corun: Corun) -> Iterator[tuple[int, list[str]]]:
    """Yield (round, workloads that run at once) in the order of the campaign.

    Each round has every workload alone and all of them together, in another order, so
    that drift (temperature, other work on the host) falls on all alike.
    """
    generator = random.Random(corun.seed)
    names = [workload.name for workload in corun.workloads]
    for number in range(corun.repeats):
        parts = [[name] for name in names] + [names]
        generator.shuffle(parts)
        for part in parts:
            yield number, part


def left(corun: Corun) -> list[tuple[int, list[str]]]:
    """Return the steps that are to be made, in their order."""
    made = {(run.round, run.workload, run.together) for run in corun.runs}
    return [
        (number, names)
        for number, names in steps(corun)
        if (number, names[0], len(names) > 1) not in made
    ]
