"""The command line of a scaling campaign."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.decode import whole_number
from base.errors import UserError
from base.log import logger
from conf.experiment_file import OPTION
from conf.load import GROUPS

_LOG = logger(__name__)

_FEWEST_RUNS = 3
_GROUPS = (*GROUPS, OPTION, "benchmark", "mode")
_OWN = ("replicas", "runs", "samples", "tolerance", "longest_s", "seed", "run.dir")


@dataclass(slots=True, kw_only=True)
class CampaignOptions:
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


def parse(arguments: Sequence[str]) -> CampaignOptions:
    """Return the options on the command line.

    Raises:
        UserError: a value is missing or makes no sense.
    """
    options = CampaignOptions()
    for text in arguments:
        key, _, value = text.partition("=")
        if key == "replicas":
            options.sizes = _sizes(value)
        elif key == "runs":
            options.runs = _whole(text)
        elif key == "samples":
            options.samples = _whole(text)
        elif key == "seed":
            options.seed = _whole(text)
        elif key == "tolerance":
            options.tolerance = number_option(text, r"0?\.\d+")
        elif key == "longest_s":
            options.longest_s = number_option(text, r"\d+(\.\d+)?")
        elif key == "run.dir" and value:
            options.root = Path(value)
        elif key == "cluster.replicas":
            raise UserError(f"{text}: a campaign has several sizes; write replicas=1,2")
        else:
            refuse_unknown(text, _OWN, "mlperf-sut campaign scaling")
            options.overrides.append(text)
    if options.samples == 0:
        raise UserError("samples=0: not a valid number for this option")
    if options.samples and any("run.min_queries" in o for o in options.overrides):
        raise UserError("samples= and run.min_queries= set the same; give one of them")
    if not options.sizes:
        raise UserError("replicas= is missing; write the sizes, e.g. replicas=1,2,4")
    if options.runs < _FEWEST_RUNS:
        raise UserError(
            f"runs={options.runs}: {_FEWEST_RUNS} runs of a size are the fewest that"
            " show how much results vary"
        )
    if options.tolerance <= 0:
        raise UserError("tolerance must be above 0, e.g. tolerance=0.05")
    if not 0 < options.longest_s < float("inf"):
        raise UserError("longest_s must be above 0, e.g. longest_s=600")
    if 1 not in options.sizes:
        _LOG.info("replicas=: added 1 as the baseline")
        options.sizes.insert(0, 1)
    return options


def refuse_unknown(text: str, own: Sequence[str], command: str) -> None:
    """Refuse a name that neither a campaign nor a run has.

    Args:
        text: key=value.
        own: options of the campaign itself.
        command: whose help lists them.

    Raises:
        UserError: it is one.
    """
    key = text.partition("=")[0].lstrip("+~")
    if text.startswith("-") or key == "config":
        raise UserError(
            f"{text}: unknown option; options are written KEY=VALUE, see"
            f" {command} --help"
        )
    if "." in key or key in _GROUPS:
        return
    near = difflib.get_close_matches(key, [*own, *_GROUPS], 1)
    raise UserError(
        f"{text}: unknown option {key}"
        + (f"; did you mean {near[0]}=" if near else "")
        + f"; see {command} --help"
    )


def _sizes(value: str) -> list[int]:
    sizes = {whole_number(part) for part in value.split(",")}
    if None in sizes or 0 in sizes:
        raise UserError(f"replicas={value}: write sizes like replicas=1,2,4")
    return sorted(size for size in sizes if size)


def _whole(text: str) -> int:
    value = whole_number(text.partition("=")[2])
    if value is None:
        raise UserError(f"{text}: not a valid number for this option")
    return value


def number_option(text: str, pattern: str) -> float:
    """Return the value of an option.

    Args:
        text: KEY=VALUE.
        pattern: a regular expression that the value matches.

    Raises:
        UserError: it does not.
    """
    value = text.partition("=")[2]
    if not re.fullmatch(pattern, value):
        raise UserError(f"{text}: not a valid number for this option")
    return float(value)
