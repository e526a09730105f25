"""`python -m campaigns.scaling replicas=1,2,4 [scenario=offline ...]`: how it scales.

Makes runs of several sizes, each in a process of its own, and the report on them.
Every size is run at least three times, in an order that differs from round to round;
one replica is always among the sizes, as the baseline. Server and Interactive: for
each size the highest rate that keeps the latency limits is searched first, beginning
at scenario.target_qps for each replica, and then confirmed by the repeated runs.

Options of its own; all others are those of `python -m sut.main`:
  replicas=1,2,4    sizes
  runs=3            runs of each size, three at least
  samples=INT       samples for each replica, so that runs of all sizes last equally
                    long (left out: as many samples in all sizes)
  tolerance=0.05    relative step at which the search for a rate ends
  seed=0            of the order of runs
  run.dir=DIR       folder for the campaign (left out: runs/<UTC time>-scaling)
"""

import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.errors import UserError
from campaigns.rates import highest_rate
from campaigns.series import BAD_INPUT, GOOD, NOT_GOOD, Made, Series, mixed
from conf.load import load_config
from conf.schema import Config, ExternalConfig, ScenarioName
from record.errors import RecordError
from report.build import write_files
from report.content import make_report
from report.run import read_run

ABORTED = 3
_FEWEST_RUNS = 3
_STEPS_DOWN = 12
_PACED = (ScenarioName.server, ScenarioName.interactive)


class InVainError(Exception):
    """A run failed for what a lower rate is not known to mend."""


@dataclass(slots=True, kw_only=True)
class Options:
    """What the command line asks for."""

    sizes: list[int] = field(default_factory=list)
    runs: int = _FEWEST_RUNS
    samples: int | None = None
    """For each replica; None: run.min_queries holds for every size."""
    tolerance: float = 0.05
    seed: int = 0
    root: Path | None = None
    overrides: list[str] = field(default_factory=list)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return GOOD
    try:
        options = parse(arguments)
        config = load_config(
            [*options.overrides, f"cluster.replicas={options.sizes[0]}"]
        )
        return _campaign(options, config)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except RecordError as error:
        print(f"error: {error}", file=sys.stderr)
        return ABORTED
    except OSError as error:
        print(f"aborted: {error.filename}: {error.strerror}", file=sys.stderr)
        return ABORTED


def parse(arguments: Sequence[str]) -> Options:
    """Return the options on the command line.

    Raises:
        UserError: a value is missing or makes no sense.
    """
    options = Options()
    for text in arguments:
        key, _, value = text.partition("=")
        if key == "replicas":
            options.sizes = _sizes(value)
        elif key == "runs":
            options.runs = int(_number(text, r"\d+"))
        elif key == "samples":
            options.samples = int(_number(text, r"[1-9]\d*"))
        elif key == "seed":
            options.seed = int(_number(text, r"\d+"))
        elif key == "tolerance":
            options.tolerance = _number(text, r"0?\.\d+")
        elif key == "run.dir" and value:
            options.root = Path(value)
        elif key == "cluster.replicas":
            raise UserError(f"{text}: a campaign has several sizes; write replicas=1,2")
        else:
            options.overrides.append(text)
    if options.samples and any("run.min_queries" in o for o in options.overrides):
        raise UserError("samples= and run.min_queries= say the same; leave one out")
    if not options.sizes:
        raise UserError("replicas= is missing; write the sizes, e.g. replicas=1,2,4")
    if options.runs < _FEWEST_RUNS:
        raise UserError(f"runs={options.runs}: fewer than {_FEWEST_RUNS} tell no noise")
    if options.tolerance <= 0:
        raise UserError("tolerance must be above 0, e.g. tolerance=0.05")
    if 1 not in options.sizes:
        print("replicas: 1 is added, as the baseline", file=sys.stderr)
        options.sizes.insert(0, 1)
    return options


def _sizes(value: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", value):
        raise UserError(f"replicas={value}: write sizes like replicas=1,2,4")
    return sorted({int(part) for part in value.split(",")})


def _number(text: str, pattern: str) -> float:
    value = text.partition("=")[2]
    if not re.fullmatch(pattern, value):
        raise UserError(f"{text}: not a number that fits here")
    return float(value)


def _campaign(options: Options, config: Config) -> int:
    root = options.root or Path("runs") / time.strftime(
        "%Y%m%dT%H%M%SZ-scaling", time.gmtime()
    )
    root.mkdir(parents=True, exist_ok=True)
    series = Series(
        root=root,
        overrides=options.overrides,
        cores_per_replica=_cores_per_replica(options, config),
        samples_per_replica=options.samples,
    )
    try:
        if config.scenario.name in _PACED:
            _paced(options, config, series)
        else:
            _plain(options, series)
    except KeyboardInterrupt:
        print("interrupted: the report covers the runs made so far", file=sys.stderr)
    if not series.made:
        return ABORTED
    report = make_report([read_run(made.folder) for made in series.made])
    print(write_files(report, root))
    # A search has runs that fail; without one every run should pass.
    bad = [m for m in series.made if m.in_vain or (m.rate is None and not m.passed)]
    if bad:
        names = ", ".join(made.folder.name for made in bad)
        print(f"did not pass, whatever the rate: {names}", file=sys.stderr)
        return NOT_GOOD
    sizes = {made.size for made in series.made if made.passed}
    if sizes != set(options.sizes):
        missing = sorted(set(options.sizes) - sizes)
        print(f"no run passed with {missing} replicas", file=sys.stderr)
        return NOT_GOOD
    return GOOD


def _cores_per_replica(options: Options, config: Config) -> int:
    """Return equal shares of the cores: a replica has as many in every size.

    Replicas of `cluster=external` have those of their nodes.
    """
    cores = len(os.sched_getaffinity(0))
    if isinstance(config.cluster, ExternalConfig):
        return cores
    return max(1, cores // max(options.sizes))


def _plain(options: Options, series: Series) -> None:
    total = options.runs * len(options.sizes)
    for _, size in mixed(options.sizes, options.runs, options.seed):
        series.run(size, note=f" of {total}")


def _paced(options: Options, config: Config, series: Series) -> None:
    rates = _search(options, series, config.scenario.target_qps or 1.0)
    for _ in range(_STEPS_DOWN):
        for _, size in mixed(list(rates), options.runs, options.seed):
            made = _at(series, size, rates[size])
            if len(made) < options.runs and all(one.passed for one in made):
                series.run(size, rates[size], " (confirm)")
        for size, rate in list(rates.items()):
            reasons = [one.in_vain for one in _at(series, size, rate) if one.in_vain]
            if reasons:
                print(f"{size} replica(s): given up: {reasons[0]}", file=sys.stderr)
                del rates[size]
        failed = [
            size
            for size, rate in rates.items()
            if not all(one.passed for one in _at(series, size, rate))
        ]
        if not failed:
            return
        for size in failed:
            rates[size] /= 1 + options.tolerance
    print(f"no rate was confirmed with {failed} replicas", file=sys.stderr)


def _search(options: Options, series: Series, start: float) -> dict[int, float]:
    """Return for each size the highest rate that kept the limits once."""
    rates: dict[int, float] = {}
    for size in options.sizes:

        def probe(rate: float, size: int = size) -> bool:
            made = series.run(size, rate, " (search)")
            if made.in_vain:
                raise InVainError(made.in_vain)
            return made.passed

        try:
            found = highest_rate(probe, start * size, options.tolerance)
        except InVainError as error:
            print(f"{size} replica(s): the search ends: {error}", file=sys.stderr)
            continue
        if found is None:
            print(f"{size} replica(s) kept the limits at no rate", file=sys.stderr)
        else:
            rates[size] = found
            start = found / size
    return rates


def _at(series: Series, size: int, rate: float) -> list[Made]:
    return [one for one in series.made if (one.size, one.rate) == (size, rate)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
