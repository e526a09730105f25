"""The command line of a scaling campaign."""

import difflib
import errno
import re
import tempfile
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
            options.tolerance = _number(text, r"0?\.\d+")
        elif key == "longest_s":
            options.longest_s = _number(text, r"\d+(\.\d+)?")
        elif key == "run.dir" and value:
            options.root = Path(value)
        elif key == "cluster.replicas":
            raise UserError(f"{text}: a campaign has several sizes; write replicas=1,2")
        else:
            refuse_unknown(text, _OWN, "python -m campaigns.scaling")
            options.overrides.append(text)
    if options.samples == 0:
        raise UserError("samples=0: not a valid number for this option")
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
    if not 0 < options.longest_s < float("inf"):
        raise UserError("longest_s must be above 0, e.g. longest_s=600")
    if 1 not in options.sizes:
        _LOG.info("replicas: 1 is added, as the baseline")
        options.sizes.insert(0, 1)
    return options


_FULL = (errno.ENOSPC, errno.EDQUOT)


def make_root(root: Path) -> None:
    """Make the folder of a campaign, if it is not there, and check that it takes files.

    Raises:
        UserError: it is a file, its name is not possible, or it cannot be written to.
        OSError: the disk is full.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        _try_writing(root)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise UserError(
            f"run.dir={root}: {error.strerror or error}; name another folder"
        ) from error


def check_target(option: str, path: Path) -> None:
    """Check that a campaign can write the file `path` when it ends, hours later.

    Raises:
        UserError: it is a folder, or its folder is missing or cannot be written to.
        OSError: the disk is full.
    """
    try:
        if path.is_dir():
            raise UserError(f"{option} {path}: a folder; name a file")
        if not path.parent.is_dir():
            raise UserError(f"{option} {path}: there is no folder {path.parent}")
        if path.exists():
            path.read_bytes()
        _try_writing(path.parent)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise UserError(
            f"{option} {path}: {error.strerror or error}; name another file"
        ) from error


def _try_writing(folder: Path) -> None:
    # Permissions alone do not show it: a file system may be read-only.
    with tempfile.TemporaryFile(dir=folder):
        pass


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


def _number(text: str, pattern: str) -> float:
    value = text.partition("=")[2]
    if not re.fullmatch(pattern, value):
        raise UserError(f"{text}: not a valid number for this option")
    return float(value)
