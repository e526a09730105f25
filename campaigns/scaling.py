"""`python -m campaigns.scaling replicas=1,2,4 [scenario=offline ...]`: how it scales.

Makes runs of several sizes, each in a process of its own, and the report on them.
Every size is run at least three times, in an order that differs from round to round;
one replica is always among the sizes, as the baseline. Offline: each replica has as
many samples in every size, so that all runs last about equally long. Server and
Interactive: for each size the highest rate that the system sustains is searched first,
beginning at scenario.target_qps for each replica, and then confirmed by the repeated
runs. A rate is sustained where the latency limits were kept and the queue did not grow
in a run that was long enough to show it; the campaign works out how long that is.

Options of its own; all others are those of `python -m sut.main`:
  replicas=1,2,4    sizes
  runs=3            runs of each size, three at least
  samples=INT       samples for each replica (left out: the data set, or
                    run.min_queries, once in the largest size); Server: as the rate
                    asks for, and at least these
  tolerance=0.05    how far the rate that is found may lie beside the true one
  longest_s=600     Server: longest run that may be planned, in s of arrivals
  seed=0            of the order of runs
  run.dir=DIR       folder for the campaign (left out: runs/<UTC time>-scaling)

Exit codes: 0 every size has its result, 1 finished but a size has none, 2 bad input,
3 interrupted. What was made is kept and reported whatever the exit code.
"""

import contextlib
import difflib
import itertools
import math
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.child import Children
from base.command import run_command
from base.errors import Aborted, ExitCode, UserError
from campaigns.rates import Lengths, NoRateError, Search, Trial
from campaigns.series import Made, Series, mixed
from conf.load import GROUPS, load_config
from conf.schema import Config, ExternalConfig, RunKind, ScenarioName
from qsl.dataset import load_dataset
from record.campaign import NAME, Campaign, CampaignSize
from report.build import write_files
from report.content import Report, make_report
from report.statistics.sizes import SizeScaling, scaling_by_size

_FEWEST_RUNS = 3
_STEPS_DOWN = 12
_PACED = (ScenarioName.server, ScenarioName.interactive)
_GROUPS = (*GROUPS, "benchmark", "mode")
_OWN = ("replicas", "runs", "samples", "tolerance", "longest_s", "seed", "run.dir")


@dataclass(slots=True, kw_only=True)
class Options:
    """What the command line asks for."""

    sizes: list[int] = field(default_factory=list)
    runs: int = _FEWEST_RUNS
    samples: int | None = None
    """For each replica; None: worked out from the data set or run.min_queries."""
    tolerance: float = 0.05
    longest_s: float = 600.0
    seed: int = 0
    root: Path | None = None
    overrides: list[str] = field(default_factory=list)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    return run_command(lambda: _command(arguments))


def _command(arguments: Sequence[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return ExitCode.GOOD
    options = parse(arguments)
    config = load_config([*options.overrides, f"cluster.replicas={options.sizes[0]}"])
    root = _make_root(options.root)
    campaign = Campaign(
        kind="scaling",
        command=["python", "-m", "campaigns.scaling", *arguments],
        scenario=config.scenario.name.value,
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    with Children() as children:
        series = Series(
            root=root,
            campaign=campaign,
            children=children,
            overrides=options.overrides,
            cores_per_replica=_cores_per_replica(options, config),
        )
        series.save()
        return run_campaign(options, config, series)


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
        elif key == "longest_s":
            options.longest_s = _number(text, r"\d+(\.\d+)?")
        elif key == "run.dir" and value:
            options.root = Path(value)
        elif key == "cluster.replicas":
            raise UserError(f"{text}: a campaign has several sizes; write replicas=1,2")
        else:
            _refuse_unknown(text)
            options.overrides.append(text)
    if options.samples and any("run.min_queries" in o for o in options.overrides):
        raise UserError("samples= and run.min_queries= say the same; leave one out")
    if not options.sizes:
        raise UserError("replicas= is missing; write the sizes, e.g. replicas=1,2,4")
    if options.runs < _FEWEST_RUNS:
        raise UserError(
            f"runs={options.runs}: {_FEWEST_RUNS} runs of a size are the fewest that"
            " show how much results vary"
        )
    if options.tolerance <= 0:
        raise UserError("tolerance must be above 0, e.g. tolerance=0.05")
    if options.longest_s <= 0:
        raise UserError("longest_s must be above 0, e.g. longest_s=600")
    if 1 not in options.sizes:
        print("replicas: 1 is added, as the baseline", file=sys.stderr)
        options.sizes.insert(0, 1)
    return options


def _refuse_unknown(text: str) -> None:
    """Refuse a name that neither a campaign nor a run has.

    Raises:
        UserError: it is one.
    """
    key = text.partition("=")[0].lstrip("+~")
    if text.startswith("-") or key == "config":
        raise UserError(
            f"{text}: unknown option; options are written KEY=VALUE, see"
            " python -m campaigns.scaling --help"
        )
    if "." in key or key in _GROUPS:
        return
    near = difflib.get_close_matches(key, [*_OWN, *_GROUPS], 1)
    raise UserError(
        f"{text}: unknown option {key}"
        + (f"; did you mean {near[0]}=" if near else "")
        + "; see python -m campaigns.scaling --help"
    )


def _sizes(value: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", value):
        raise UserError(f"replicas={value}: write sizes like replicas=1,2,4")
    return sorted({int(part) for part in value.split(",")})


def _number(text: str, pattern: str) -> float:
    value = text.partition("=")[2]
    if not re.fullmatch(pattern, value):
        raise UserError(f"{text}: not a number that fits here")
    return float(value)


def _make_root(wanted: Path | None) -> Path:
    """Return a folder that no other campaign has.

    Raises:
        UserError: the folder that is asked for holds another campaign.
        OSError: it cannot be made.
    """
    if wanted is not None:
        if (wanted / NAME).exists():
            raise UserError(
                f"run.dir={wanted} holds another campaign; give another folder"
            )
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted
    stamp = time.strftime("%Y%m%dT%H%M%SZ-scaling", time.gmtime())
    Path("runs").mkdir(exist_ok=True)
    for attempt in itertools.count():
        root = Path("runs") / (stamp + (f"-{attempt}" if attempt else ""))
        with contextlib.suppress(FileExistsError):
            root.mkdir()
            return root
    raise AssertionError("unreachable")


def run_campaign(options: Options, config: Config, series: Series) -> int:
    """Make all runs, the report and the summary; return the exit code.

    Raises:
        SutError: the campaign ended early; what was made is reported before.
    """
    campaign = series.campaign
    try:
        if config.scenario.name in _PACED:
            campaign.sizes = find_rates(options, config, series)
        else:
            campaign.sizes = _plain(options, config, series)
    except (Aborted, UserError):
        campaign.status = "interrupted"
        if series.made:
            _conclude(series)
        series.save()
        raise
    without = [size for size in campaign.sizes if size.reason]
    campaign.status = "not good" if without else "good"
    complete = _conclude(series)
    for size in without:
        print(f"{size.replicas} replica(s): {size.reason}", file=sys.stderr)
    return ExitCode.GOOD if complete and not without else ExitCode.NOT_GOOD


def _conclude(series: Series) -> bool:
    """Write the record and the report, and print what was found.

    Returns:
        Whether the report covers every run that was made.
    """
    series.save()
    runs = series.readable()
    if not runs:
        return False
    report = make_report(runs, campaign=series.campaign)
    page = write_files(report, series.root)
    for line in _summary(series.campaign, report):
        print(line)
    print(f"report: {page}")
    return len(runs) == len(series.made)


def _summary(campaign: Campaign, report: Report) -> list[str]:
    """Return the lines that the user reads at the end."""
    rows: list[SizeScaling] = scaling_by_size(report.runs)
    lines = []
    for size in campaign.sizes:
        main = [row for row in rows if row.size == size.replicas and row.metric.main]
        text = f"{size.replicas} replica(s): "
        if size.reason:
            lines.append(text + f"no result: {size.reason}")
            continue
        if size.sustained_qps is not None:
            text += f"sustained rate {size.sustained_qps:.4g} queries/s"
        elif main and main[0].own is not None:
            text += f"{main[0].own.value:.4g} {main[0].metric.unit}"
        else:
            text += "done"
        share = main[0].efficiency if main and size.replicas > 1 else None
        if share is not None:
            text += f", efficiency {100 * share.value:.1f}%"
            if share.low == share.low:
                text += (
                    f" (95% interval {100 * share.low:.1f} to {100 * share.high:.1f}%)"
                )
        lines.append(f"{text}, {size.runs} runs")
    return lines


def _cores_per_replica(options: Options, config: Config) -> int:
    """Return equal shares of the cores: a replica has as many in every size.

    Replicas of `cluster=external` have those of their nodes.
    """
    cores = len(os.sched_getaffinity(0))
    if isinstance(config.cluster, ExternalConfig):
        return cores
    return max(1, cores // max(options.sizes))


def _plain(options: Options, config: Config, series: Series) -> list[CampaignSize]:
    """Make the runs of a scenario without a rate."""
    each = _samples_per_replica(options, config)
    total = options.runs * len(options.sizes)
    for done, (_, size) in enumerate(mixed(options.sizes, options.runs, options.seed)):
        series.run(
            size,
            "repeat",
            queries=None if each is None else each * size,
            note=f" of {total}{_left(series, total - done)}",
        )
    return [_plain_size(size, series) for size in options.sizes]


def _samples_per_replica(options: Options, config: Config) -> int | None:
    """Return how many samples each replica has; None where the rules fix them all."""
    if options.samples is not None:
        return options.samples
    if config.run.kind is RunKind.full:
        return None
    if config.scenario.name is ScenarioName.singlestream:
        return None
    total = config.run.min_queries or len(load_dataset(config.dataset))
    return max(1, math.ceil(total / max(options.sizes)))


def _left(series: Series, runs: int) -> str:
    """Return how long so many more runs take, as far as it is known."""
    if not series.made:
        return ""
    mean = sum(made.record.seconds for made in series.made) / len(series.made)
    return f", about {runs * mean / 60:.0f} min left"


def _plain_size(size: int, series: Series) -> CampaignSize:
    own = [made for made in series.made if made.record.replicas == size]
    bad = [made for made in own if not made.record.counts]
    return CampaignSize(
        replicas=size,
        runs=len(own) - len(bad),
        reason=f"{bad[0].record.run} did not pass: {bad[0].record.reason}"
        if bad
        else "",
    )


def find_rates(options: Options, config: Config, series: Series) -> list[CampaignSize]:
    """Search the rate of each size and confirm it."""
    found: dict[int, CampaignSize] = {}
    rates: dict[int, float] = {}
    searches: dict[int, Search] = {}
    start = config.scenario.target_qps or 1.0
    for size in options.sizes:
        searches[size] = search = _search(options, config, series, size)
        try:
            rates[size] = search.highest(start * size)
            start = rates[size] / size
        except NoRateError as error:
            found[size] = CampaignSize(
                replicas=size, reason=f"no rate was found: {error}"
            )
            print(f"{size} replica(s): {found[size].reason}", file=sys.stderr)
    for size, reason in _confirm(options, series, searches, rates).items():
        found[size] = CampaignSize(replicas=size, reason=f"no rate was found: {reason}")
    for size, rate in rates.items():
        if size not in found:
            own = _at(series, size, rate, searches[size].queries)
            found[size] = CampaignSize(
                replicas=size,
                sustained_qps=sum(map(_arrived, own)) / len(own),
                runs=len(own),
            )
    for size, result in found.items():
        result.valid_qps = max(
            (
                _arrived(made)
                for made in series.made
                if made.record.replicas == size and made.trial.kept
            ),
            default=None,
        )
    return [found[size] for size in options.sizes]


def _search(options: Options, config: Config, series: Series, size: int) -> Search:
    fixed = config.run.kind is RunKind.full

    def probe(rate: float, queries: int) -> Trial:
        return series.run(
            size,
            "search",
            rate=rate,
            queries=None if fixed else queries,
            progress=_progress(search, series, size),
        ).trial

    floor = options.samples * size if options.samples else config.run.min_queries
    lengths = Lengths(longest_s=options.longest_s)
    lengths.floor = max(lengths.floor, floor or 0)
    lengths.fixed = fixed
    # The probe reads the stage of the search that calls it.
    search = Search(probe=probe, tolerance=options.tolerance, lengths=lengths)
    return search


def _progress(search: Search, series: Series, size: int) -> str:
    """Return where a search is, and how much at most is left of its stage."""
    stage = search.stage
    rates, runs = stage.rates_left, stage.runs_left
    sides = ((stage.good, "sustained"), (stage.bad, "missed"))
    found = [f"{rate:.4g} {word}" for rate, word in sides if rate is not None]
    words = [
        f"{stage.name} search: {', '.join(found) or 'no rate decided yet'}",
        f"at most {rates} rate{'s' * (rates > 1)} left in {runs} runs",
    ]
    own = [m.record.seconds for m in series.made if m.record.replicas == size]
    if own and len(found) == len(sides):
        words.append(f"about {_duration(rates * own[-1])}")
    if not search.lengths.fixed:
        longest = runs * search.lengths.longest_s
        words.append(f"never above {_duration(longest)} of arrivals")
    return ", ".join(words)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _confirm(
    options: Options,
    series: Series,
    searches: dict[int, Search],
    rates: dict[int, float],
) -> dict[int, str]:
    """Repeat runs at `rates`, lower those that fail; return why sizes have none."""
    given_up: dict[int, str] = {}
    open_ = set(rates)
    for _ in range(_STEPS_DOWN):
        for _, size in mixed(sorted(open_), options.runs, options.seed):
            rate, search = rates[size], searches[size]
            made = _at(series, size, rate, search.queries)
            bad = any(not one.trial.sustained for one in made)
            if size in given_up or bad or len(made) >= options.runs:
                continue
            again = series.run(
                size,
                "confirm",
                rate=rate,
                queries=None if search.lengths.fixed else search.queries,
                note=_left_at(series, options.runs - len(made), size, rate),
            )
            if again.trial.hopeless:
                given_up[size] = again.trial.hopeless
        open_ = {
            size
            for size in open_ - set(given_up)
            if not all(
                one.trial.sustained
                for one in _at(series, size, rates[size], searches[size].queries)
            )
        }
        if not open_:
            return given_up
        for size in open_:
            rates[size] /= searches[size].step
    return given_up | {
        size: f"no rate down to {rates[size]:.4g} queries/s was sustained by"
        f" {options.runs} runs"
        for size in open_
    }


def _left_at(series: Series, runs: int, size: int, rate: float) -> str:
    own = [m for m in series.made if (m.record.replicas, m.record.rate) == (size, rate)]
    if not own:
        return ""
    return f", about {runs * own[-1].record.seconds / 60:.0f} min left at this rate"


def _at(series: Series, size: int, rate: float, queries: int) -> list[Made]:
    """Return the runs of full length at a rate."""
    return [
        made
        for made in series.made
        if (made.record.replicas, made.record.rate) == (size, rate)
        and made.record.queries in (None, queries)
    ]


def _arrived(made: Made) -> float:
    """Return the rate at which the queries of a run arrived, in queries/s."""
    return made.trial.steady.rate_per_s


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
