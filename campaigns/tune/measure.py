"""The objective of a tuning campaign, its runs, and what a run shows of it."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from base.benchmark import SERVER_SCENARIOS, ScenarioName
from base.child import Children
from base.errors import UserError
from campaigns.outcome import shows_rate
from campaigns.series import run_child
from campaigns.sweep.points import Point, point_options
from campaigns.sweep.record import read_run_of, read_samples
from conf.schema import Config
from forecast.evidence import run_limits
from forecast.limits import Limits, Samples
from forecast.measures import measures
from record.folder import RecordError, RunFolder, read_json
from record.structs import SettingsRecord, Verdict

LIMIT_LOAD = "limit_load"
_PER_DEVICE = "tokens_per_s_per_device"
_HIGHER = ("samples_per_s", "tokens_per_s", _PER_DEVICE)
_LATENCIES = tuple(
    f"{kind}_ms_p{percent}"
    for kind in ("ttft", "tpot", "latency")
    for percent in (50, 90, 99)
)
NAMES = (*_HIGHER, *_LATENCIES, LIMIT_LOAD)


@dataclass(frozen=True, slots=True)
class Objective:
    """The figure that is to become better."""

    name: str
    """One of `NAMES`, all as in `forecast.json`. `limit_load`: the largest share of a
    latency limit that is used."""

    @classmethod
    def of(cls, name: str | None, config: Config) -> "Objective":
        """Return the objective of that name; None: the scenario's own.

        Raises:
            UserError: there is none of that name, or the scenario has no such figure.
        """
        scenario = config.scenario.name
        if name is None:
            name = "tokens_per_s"
            if scenario in SERVER_SCENARIOS:
                name = LIMIT_LOAD
            elif scenario is ScenarioName.singlestream:
                name = "latency_ms_p90"
        if name not in NAMES:
            raise UserError(f"objective={name} must be one of {', '.join(NAMES)}")
        streamed = name.startswith(("ttft", "tpot")) or name == LIMIT_LOAD
        if streamed and scenario not in SERVER_SCENARIOS:
            raise UserError(
                f"objective={name}: scenario={scenario.value} has no such figure; write"
                " scenario=server or scenario=interactive"
            )
        return cls(name)

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Which values are better."""
        return "higher" if self.name in _HIGHER else "lower"

    def score(self, value: float) -> float:
        """Return the logarithm of the value, with the sign that makes more better."""
        return math.log(value) * (1 if self.better == "higher" else -1)

    def value(self, samples: Samples, limits: Limits | None) -> float | None:
        """Return its value in a run, measured or simulated; None: it has none.

        `tokens_per_s_per_device` is returned for one device.
        """
        if self.name == LIMIT_LOAD:
            return load_of(samples, limits)
        name = "tokens_per_s" if self.name == _PER_DEVICE else self.name
        value = measures(samples).get(name)
        return value if value and math.isfinite(value) and value > 0 else None


def load_of(samples: Samples, limits: Limits | None) -> float | None:
    """Return the largest share of a limit that is used; None: there is no limit."""
    states = [] if limits is None else limits.judge(samples)
    loads = [state.load for state in states if 0 < state.load < math.inf]
    return max(loads, default=None)


@dataclass(slots=True, kw_only=True)
class Measurement:
    """What one run showed."""

    run: str | None
    """Name of its folder; None: it made none."""
    seconds: float
    """From its start to its end, loading included."""
    value: float | None = None
    """Of the objective; None: the run does not count."""
    load: float | None = None
    """Largest used share of a latency limit; above 1: missed; None: no limit."""
    reason: str = ""
    """Why it does not count; empty: it does."""
    figures: dict[str, float]
    """By name; the unit is part of the name, as in `forecast.json`."""


def read_measurement(
    folder: Path | None,
    code: int,
    seconds: float,
    objective: Objective,
    limits: Limits | None,
) -> Measurement:
    """Return what a run showed.

    A run that only missed its latency limits counts: its load says by how much.

    Args:
        folder: of the run; None: it made none.
        code: its exit code.
        seconds: that it took.
        objective: of the campaign.
        limits: of the user's own; None: those of the run.
    """
    made = read_run_of(0, 0, folder, code, seconds)
    found = Measurement(
        run=made.run, seconds=made.seconds, reason=made.reason, figures=made.figures
    )
    if folder is None:
        return found
    run = RunFolder(folder)
    try:
        verdict = read_json(run.verdict, Verdict)
        if not shows_rate(verdict):
            found.reason = verdict.reason
            return found
        settings = read_json(run.settings, SettingsRecord)
        samples = read_samples(run)
    except RecordError as error:
        found.reason = str(error)
        return found
    if samples is None:
        found.reason = "fewer than two samples were completed"
        return found
    found.reason = ""
    own = limits
    if own is None and settings.loadgen_scenario == "Server":
        own = run_limits(settings)
    found.load = load_of(samples, own)
    value = objective.value(samples, own)
    if value is not None and objective.name == _PER_DEVICE:
        value /= made.devices
    found.value = value
    if value is None:
        found.reason = f"the run has no {objective.name}"
    return found


@dataclass(slots=True, kw_only=True)
class TuneRunner:
    """Implements `campaigns.tune.tuner.RunMaker`."""

    children: Children
    root: Path
    shared: Sequence[str]
    objective: Objective
    limits: Limits | None

    def run(self, point: Point, seed: int | None) -> Measurement:
        """Make one run to its end.

        Raises:
            Aborted: a signal came.
        """
        options = [*point_options(point), f"run.dir={self.root}"]
        if seed is not None:
            options.append(f"run.loadgen_seed={seed}")
        began = time.monotonic()
        ended = run_child(self.children, [*self.shared, *options])
        seconds = time.monotonic() - began
        return read_measurement(
            ended.folder, ended.code, seconds, self.objective, self.limits
        )

    def accuracy(self, options: Sequence[str]) -> tuple[Path | None, int]:
        """Make a run in accuracy mode; return its folder and its exit code.

        Raises:
            Aborted: a signal came.
        """
        ended = run_child(self.children, [*options, f"run.dir={self.root}"])
        return ended.folder, ended.code
