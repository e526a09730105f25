"""The command line of a qualification."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.decode import whole_number
from base.errors import UserError
from campaigns.options import refuse_unknown
from conf.load import load_config
from conf.schema import Config, RunKind
from qsl.dataset import load_dataset
from scenarios.rules import rules

_MOST_SAMPLES = 4000
_MOST_CONFIRMED = 100
_OWN = (
    "samples",
    "queries",
    "rate",
    "answers",
    "tolerance",
    "confirm",
    "reference",
    "history",
    "run.dir",
)
_SET_HERE = ("scenario", "mode", "cluster.only", "scenario.target_qps", "run")
_OF_ALL = ("run.dir", "cluster", "cluster.replicas", "model", "dataset")
"""Options that cannot differ between the runs of a qualification."""
_SIZES = ("run.min_queries", "run.min_duration_s")
_BENCHMARK_MODELS = ("llama3_1-8b", "llama3_1-8b_dummy")
_COMMAND = "mlperf-sut qualify"


@dataclass(slots=True, kw_only=True)
class QualifyOptions:
    """What the command line asks for."""

    samples: int = 0
    """Of each replica in an Offline run."""
    queries: int | None = None
    """Of each replica in a Server run; None: about a minute of arrivals."""
    rate: float | None = None
    """Queries/s of each replica; None: worked out from the Offline runs."""
    answers: int | None = None
    """Prompts in a run that compares answers; None: 64 for each replica."""
    tolerance: float = 0.05
    confirm: int = 2
    """How often what failed is measured again."""
    reference: Path | None = None
    history: Path | None = None
    root: Path | None = None
    make_reference: Path | None = None
    dry_run: bool = False
    overrides: list[str] = field(default_factory=list)
    """Options of every run."""
    offline: list[str] = field(default_factory=list)
    """Further ones of Offline runs."""
    server: list[str] = field(default_factory=list)
    """Further ones of Server runs."""

    def offline_config(self) -> Config:
        """Return the configuration of an Offline run."""
        return load_config([*self.overrides, *self.offline, "scenario=offline"])

    def server_config(self) -> Config:
        """Return the configuration of a Server run, at some rate."""
        return load_config([*self.overrides, *self.server, "scenario=server"])


def parse(arguments: Sequence[str]) -> QualifyOptions:
    """Return the options on the command line.

    Raises:
        UserError: a value is missing or makes no sense.
    """
    options = QualifyOptions()
    words = list(arguments)
    while words:
        text = words.pop(0)
        key, equals, value = text.partition("=")
        if text == "--dry-run":
            options.dry_run = True
        elif key == "--make-reference":
            if not equals and (not words or words[0].startswith("--")):
                raise UserError(f"{key} needs a file, e.g. {key} reference.yaml")
            options.make_reference = Path(value if equals else words.pop(0))
        else:
            _take(options, text, key, value)
    _check(options)
    return options


def _take(options: QualifyOptions, text: str, key: str, value: str) -> None:
    if key in ("samples", "queries", "answers"):
        setattr(options, key, _whole(text, value, at_least=1))
    elif key == "confirm":
        options.confirm = _whole(text, value, at_least=0, most=_MOST_CONFIRMED)
    elif key == "rate":
        options.rate = _number(text, value)
    elif key == "tolerance":
        options.tolerance = _number(text, value)
        if options.tolerance >= 0.5:
            raise UserError(f"{text}: write a share below 0.5, e.g. tolerance=0.05")
    elif key in ("reference", "history") and not value:
        raise UserError(f"{text}: no path; name one, or leave the option out")
    elif key == "history" and not Path(value).is_dir():
        raise UserError(f"{text}: no such folder; name one, or leave the option out")
    elif key in ("reference", "history"):
        setattr(options, key, Path(value))
    elif key == "run.dir" and value:
        options.root = Path(value)
    elif key.startswith("offline."):
        options.offline.append(_of_some_runs(text, "offline."))
    elif key.startswith("server."):
        options.server.append(_of_some_runs(text, "server."))
    else:
        _refuse_set_here(text, key)
        refuse_unknown(text, _OWN, _COMMAND)
        options.overrides.append(text)


def _of_some_runs(text: str, prefix: str) -> str:
    """Return the option of a run in `text`."""
    option = text.removeprefix(prefix)
    key = option.partition("=")[0]
    _refuse_set_here(text, key)
    if key in _OF_ALL:
        raise UserError(f"{text}: it is the same in all runs; leave out {prefix}")
    return option


def _refuse_set_here(text: str, key: str) -> None:
    key = key.lstrip("+~")
    if key in _SET_HERE:
        raise UserError(f"{text}: a qualification sets it; leave it out")
    if key in _SIZES:
        raise UserError(f"{text}: write samples= and queries=, both for each replica")


def _check(options: QualifyOptions) -> None:
    """Compose both configurations, and set the number of samples where it is open.

    Raises:
        UserError: a run would be refused.
    """
    config = options.offline_config()
    if config.run.kind is RunKind.full:
        raise UserError("run=full: a qualification uses short runs; remove it")
    options.server += _official_limits(options, options.server_config())
    options.server_config()
    if not options.samples:
        options.samples = min(_MOST_SAMPLES, len(load_dataset(config.dataset)))


def _official_limits(options: QualifyOptions, config: Config) -> list[str]:
    """Return options for MLPerf's limits of Server; none for another model.

    Those of a smoke run are too wide to show anything about a GPU.
    """
    if config.model.name not in _BENCHMARK_MODELS:
        return []
    official = rules("llama3_1-8b", "Server")
    limits = {
        "run.ttft_ms": official["ttft_latency"] / 1e6,
        "run.tpot_ms": official["tpot_latency"] / 1e6,
        "run.latency_percentile": official["server_target_latency_percentile"],
    }
    given = {text.partition("=")[0] for text in (*options.overrides, *options.server)}
    return [f"{name}={value:g}" for name, value in limits.items() if name not in given]


def _whole(text: str, value: str, at_least: int, most: int = 10**9) -> int:
    number = whole_number(value, most)
    if number is None or number < at_least:
        raise UserError(
            f"{text}: write a whole number of at least {at_least}, at most {most:,}"
        )
    return number


def _number(text: str, value: str) -> float:
    if not re.fullmatch(r"\d{0,9}(\.\d+)?", value) or not value or not float(value):
        raise UserError(f"{text}: write a number above 0")
    return float(value)
