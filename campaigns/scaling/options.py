"""The command line of a scaling campaign."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.decode import whole_number
from base.errors import UserError
from base.log import logger
from campaigns.options import (
    number_option,
    refuse_repeated,
    refuse_unknown,
    whole_option,
)

_LOG = logger(__name__)

_FEWEST_RUNS = 3
_OWN = ("replicas", "runs", "samples", "tolerance", "longest_s", "seed", "run.dir")


@dataclass(slots=True, kw_only=True)
class CampaignOptions:
    """What the command line asks for."""

    sizes: list[int] = field(default_factory=list)
    """Numbers of replicas, ascending; 1 is among them."""
    runs: int = _FEWEST_RUNS
    """Of each size."""
    samples: int | None = None
    """For each replica; None: worked out from the data set or run.min_queries."""
    tolerance: float = 0.05
    """How far a sustained rate may lie beside the true one, as a share."""
    longest_s: float = 600.0
    """Longest run that a search may plan, in s of arrivals."""
    seed: int = 0
    """Of the order of sizes in each round."""
    root: Path | None = None
    """Folder of the campaign; None: a new one."""
    overrides: list[str] = field(default_factory=list)
    """Options of every run."""


def parse(arguments: Sequence[str]) -> CampaignOptions:
    """Return the options on the command line.

    Raises:
        UserError: a value is missing or makes no sense.
    """
    refuse_repeated(arguments)
    options = CampaignOptions()
    for text in arguments:
        key, _, value = text.partition("=")
        if key == "replicas":
            options.sizes = _sizes(value)
        elif key == "runs":
            options.runs = whole_option(text)
        elif key == "samples":
            options.samples = whole_option(text, at_least=1)
        elif key == "seed":
            options.seed = whole_option(text)
        elif key == "tolerance":
            options.tolerance = number_option(text, "0.05", below=1)
        elif key == "longest_s":
            options.longest_s = number_option(text, "600")
        elif key == "run.dir" and value:
            options.root = Path(value)
        elif key == "cluster.replicas":
            raise UserError(f"{text}: a campaign has several sizes; write replicas=1,2")
        else:
            refuse_unknown(text, _OWN, "mlperf-sut campaign scaling")
            options.overrides.append(text)
    if options.samples and any("run.min_queries" in o for o in options.overrides):
        raise UserError("samples= and run.min_queries= set the same; give one of them")
    if not options.sizes:
        raise UserError("replicas= is missing; write the sizes, e.g. replicas=1,2,4")
    if options.runs < _FEWEST_RUNS:
        raise UserError(
            f"runs={options.runs}: {_FEWEST_RUNS} runs of a size are the fewest that"
            " show how much results vary"
        )
    if 1 not in options.sizes:
        _LOG.info("replicas=: added 1 as the baseline")
        options.sizes.insert(0, 1)
    return options


def _sizes(value: str) -> list[int]:
    sizes = {whole_number(part) for part in value.split(",")}
    if None in sizes or 0 in sizes:
        raise UserError(f"replicas={value}: write sizes like replicas=1,2,4")
    return sorted(size for size in sizes if size)
