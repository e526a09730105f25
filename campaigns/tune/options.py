"""The command line of a tuning campaign."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.errors import UserError
from campaigns.options import (
    number_option,
    refuse_repeated,
    refuse_unknown,
    whole_option,
)
from campaigns.own_limits import is_limit, parse_limits
from campaigns.sweep.points import Point, point_options
from campaigns.tune.knobs import (
    SHORT_NAMES,
    Condition,
    Knob,
    Space,
    full_name,
    read_knob,
)
from campaigns.tune.measure import LIMIT_LOAD, Objective
from campaigns.tune.tuner import Effort
from conf.load import GROUPS, load_config
from conf.schema import Config, Mode, RunKind
from forecast.limits import Limits

_OWN = ("objective", "where", "runs", "pairs", "seeds", "budget_s", "seed", "run.dir")
_FEWEST_SCREENED = 6
_FEWEST_PAIRS = 3
_LARGEST_SEED = 2**31
_MOST = {"runs": 100_000, "pairs": 1000, "seeds": 1000}
_FIXED = (*(group for group in GROUPS if group != "cluster"), "mode", "benchmark")
"""What cannot be a knob: other values are another benchmark."""


@dataclass(slots=True, kw_only=True)
class TuneOptions:
    """What the command line asks for."""

    shared: list[str] = field(default_factory=list)
    """Options of every run."""
    config: Config
    """Of the default."""
    knobs: list[Knob] = field(default_factory=list)
    where: list[Condition] = field(default_factory=list)
    """Conditions that every setting must meet."""
    objective: Objective
    """The figure that is to become better."""
    own_limits: list[str] = field(default_factory=list)
    """Latency limits as on the command line."""
    limits: Limits | None = None
    """The same, parsed; None: those of the runs."""
    effort: Effort = field(default_factory=Effort)
    """How many runs may be made."""
    seed: int = 0
    """Of the proposals."""
    root: Path | None = None
    """Folder of the campaign; None: a new one."""
    write: Path | None = None
    """Experiment file for the best setting; None: none."""
    accuracy: bool = False
    """Whether the accuracy run of the new setting is made, too."""
    dry_run: bool = False
    """Whether only the plan is printed."""

    @property
    def space(self) -> Space:
        """All settings that may be tried."""
        return Space(knobs=self.knobs, allowed=lambda point: allowed(self, point))


def parse(arguments: Sequence[str]) -> TuneOptions:
    """Return the options on the command line.

    Raises:
        UserError: a value is missing or makes no sense, or there is no knob.
    """
    flags, texts = _flags(arguments)
    if "run.dir=" in texts:
        raise UserError("run.dir=: name a folder, or leave the option out")
    own_limits = [text for text in texts if is_limit(text)]
    named = [(text.partition("=")[0], text) for text in texts]
    own_texts = [text for key, text in named if key in _OWN and key != "where"]
    refuse_repeated([*own_texts, *own_limits])
    own = {text.partition("=")[0]: text for text in own_texts}
    conditions = [t.removeprefix("where=") for t in texts if t.startswith("where=")]
    rest = [
        text
        for text in texts
        if text not in own_limits and text.partition("=")[0] not in _OWN
    ]
    for text in rest:
        if text.partition("=")[0] not in SHORT_NAMES:
            refuse_unknown(text, (*_OWN, *SHORT_NAMES), "mlperf-sut campaign tune")
    plain = [text for text in rest if read_knob(text) is None]
    groups = [text for text in plain if text.partition("=")[0] not in SHORT_NAMES]
    config = load_config(groups)
    shared = [_named(text, config) for text in plain]
    refuse_repeated(shared)
    config = load_config(shared)
    knobs = _knobs(rest, config)
    _refuse(config)
    objective = own.get("objective", "").partition("=")[2] or None
    seed = _whole(own, "seed", 0, 0)
    options = TuneOptions(
        shared=shared,
        config=config,
        knobs=knobs,
        where=[Condition.read(text, knobs) for text in conditions],
        objective=Objective.of(objective, config),
        own_limits=own_limits,
        limits=parse_limits(own_limits),
        effort=_effort(own, seed),
        seed=seed,
        root=Path(own["run.dir"].partition("=")[2]) if "run.dir" in own else None,
        write=flags.get("--write"),
        accuracy="--accuracy" in flags,
        dry_run="--dry-run" in flags,
    )
    _check_settings(options)
    return options


def allowed(options: TuneOptions, point: Point) -> bool:
    """Return whether a setting may be tried: conditions hold, and it can be configured.

    A condition on a knob that `point` leaves out is not checked.
    """
    whole = len(point) == len(options.knobs)
    for condition in options.where:
        try:
            if not condition.holds(point):
                return False
        except UserError:
            if whole:
                raise
    try:
        load_point(options.shared, point)
    except UserError:
        return False
    return True


def load_point(shared: Sequence[str], point: Point) -> Config:
    """Return the configuration of a setting.

    Raises:
        UserError: it cannot be configured.
    """
    return load_config([*shared, *point_options(point)])


def _flags(arguments: Sequence[str]) -> tuple[dict[str, Path | None], list[str]]:
    flags: dict[str, Path | None] = {}
    texts = []
    given = iter(arguments)
    for text in given:
        name, equals, value = text.partition("=")
        if name in flags:
            raise UserError(f"{name} is given twice; give it once")
        if name == "--write":
            path = value if equals else next(given, "")
            if not path or (not equals and path.startswith("--")):
                raise UserError("--write: name a file, e.g. --write tuned.yaml")
            flags[name] = Path(path)
        elif text in ("--accuracy", "--dry-run"):
            flags[text] = None
        elif not equals or text.startswith("-"):
            raise UserError(
                f"{text}: options are written KEY=VALUE, see mlperf-sut campaign tune"
                " --help"
            )
        else:
            texts.append(text)
    return flags, texts


def _named(text: str, config: Config) -> str:
    key, _, value = text.partition("=")
    return f"{full_name(key, config)}={value}"


def _knobs(texts: Sequence[str], config: Config) -> list[Knob]:
    knobs: list[Knob] = []
    for text in texts:
        knob = read_knob(_named(text, config))
        if knob is None:
            continue
        if knob.option in _FIXED or knob.option.startswith(
            ("scenario.", "run.", "dataset.")
        ):
            raise UserError(
                f"{knob.option} defines the benchmark; give it one value, or use"
                " mlperf-sut campaign sweep"
            )
        if knob.option in [other.option for other in knobs]:
            raise UserError(f"{text}: {knob.option} is a knob twice")
        knobs.append(knob)
    if not knobs:
        raise UserError(
            "no knob: give an option several values or a range, e.g."
            " max_num_seqs=64,128,256 or max_num_batched_tokens=1024..8192"
        )
    return knobs


def _refuse(config: Config) -> None:
    """Refuse what cannot be tuned.

    Raises:
        UserError: the mode, or a rate is missing.
    """
    if config.mode is not Mode.performance:
        raise UserError(
            f"mode={config.mode.value} has no performance to tune; remove it"
        )


def _effort(own: dict[str, str], seed: int) -> Effort:
    count = _whole(own, "seeds", 3, 0)
    generator = random.Random(f"seeds {seed}")
    budget = own.get("budget_s")
    effort = Effort(
        runs=_whole(own, "runs", 40, 1),
        pairs=_whole(own, "pairs", 6, _FEWEST_PAIRS),
        seeds=tuple(generator.randrange(1, _LARGEST_SEED) for _ in range(count)),
        budget_s=None if budget is None else number_option(budget, "3600"),
    )
    if effort.screening < _FEWEST_SCREENED:
        raise UserError(
            f"runs={effort.runs} leaves {max(0, effort.screening)} runs to screen"
            f" settings, {_FEWEST_SCREENED} are the fewest; write"
            f" runs={effort.confirming + _FEWEST_SCREENED} or more, or fewer pairs= or"
            " seeds="
        )
    return effort


def _whole(own: dict[str, str], name: str, default: int, least: int) -> int:
    if name not in own:
        return default
    return whole_option(own[name], at_least=least, at_most=_MOST.get(name, 10**9))


def _check_settings(options: TuneOptions) -> None:
    """Check that single values of knobs can be configured, and that any setting can.

    Raises:
        UserError: one cannot, or the objective has no limit.
    """
    config = options.config
    for knob in options.knobs:
        for value in knob.values or (knob.spread()[0], knob.spread()[-1]):
            try:
                load_point(options.shared, {knob.option: value})
            except UserError as error:
                raise UserError(f"{knob.option}={value}: {error}") from error
    generator = random.Random(0)
    points = options.space.points()
    if points is None:
        points = [options.space.draw(generator) for _ in range(200)]
    if not any(allowed(options, point) for point in points):
        raise UserError(
            "no setting meets the conditions "
            + ", ".join(f"where={condition.text}" for condition in options.where)
        )
    if config.run.kind is RunKind.full and options.effort.seeds:
        raise UserError(
            "run=full: LoadGen's seeds are those of the rules; write seeds=0"
        )
    if options.objective.name == LIMIT_LOAD and config.scenario.target_qps is None:
        raise UserError(
            f"objective={LIMIT_LOAD} needs scenario.target_qps: the rate at which each"
            " setting is measured"
        )
