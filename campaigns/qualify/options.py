"""The command line of a qualification."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.benchmark import ScenarioName
from base.errors import UserError
from campaigns.options import (
    number_option,
    refuse_repeated,
    refuse_unknown,
    whole_option,
)
from conf.load import load_config
from conf.schema import Config, RunKind
from qsl.dataset import load_dataset
from scenarios.rules import official_limits

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
    refuse_repeated(arguments)
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
        setattr(options, key, whole_option(text, at_least=1))
    elif key == "confirm":
        options.confirm = whole_option(text, at_most=_MOST_CONFIRMED)
    elif key == "rate":
        options.rate = number_option(text, "1.5")
    elif key == "tolerance":
        options.tolerance = number_option(text, "0.05", below=0.5)
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
        raise UserError(f"{text}: all runs share this option; write {option}")
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
    official = official_limits(ScenarioName.server)
    limits = {
        "run.ttft_ms": official.ttft_ms,
        "run.tpot_ms": official.tpot_ms,
        "run.latency_percentile": official.percentile,
    }
    given = {text.partition("=")[0] for text in (*options.overrides, *options.server)}
    return [f"{name}={value:g}" for name, value in limits.items() if name not in given]
