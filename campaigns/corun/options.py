"""The command line of a corun: options of all runs, and those of each workload."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.decode import whole_number
from base.errors import UserError
from campaigns.corun.record import Workload
from campaigns.options import refuse_repeated, refuse_unknown, whole_option

COMMAND = "mlperf-sut corun"
OWN = ("repeats", "seed", "run.dir")
OF_WORKLOAD = ("gpus", "cores")
_NAME = re.compile(r"([A-Za-z][\w-]{0,31}):")
_TOGETHER = "together"


@dataclass(slots=True, kw_only=True)
class CorunOptions:
    """What the command line asks for."""

    repeats: int = 3
    seed: int = 0
    root: Path | None = None
    dry_run: bool = False
    shared: list[str] = field(default_factory=list)
    workloads: list[Workload] = field(default_factory=list)


def parse(arguments: Sequence[str]) -> CorunOptions:
    """Return the options on the command line.

    Raises:
        UserError: a value makes no sense, or there are fewer than two workloads.
    """
    options = CorunOptions()
    given: list[str] = []
    for text in arguments:
        if text == "--dry-run":
            options.dry_run = True
        elif named := _NAME.fullmatch(text):
            name = named[1]
            if name == _TOGETHER or name in [w.name for w in options.workloads]:
                raise UserError(f"{text} the name is taken; give another one")
            options.workloads.append(Workload(name=name))
            given = []
            continue
        elif options.workloads:
            _add(options.workloads[-1], text)
        else:
            _set(options, text)
        given.append(text)
        refuse_repeated(given)
    if len(options.workloads) < 2:
        raise UserError(
            "a corun has two workloads or more; write NAME: before the options of each,"
            f" e.g. {COMMAND} chat: scenario=server batch: scenario=offline"
        )
    return options


def _set(options: CorunOptions, text: str) -> None:
    key, _, value = text.partition("=")
    if key == "repeats":
        options.repeats = whole_option(text, at_least=1, at_most=1000)
    elif key == "seed":
        options.seed = whole_option(text)
    elif key == "run.dir" and value:
        options.root = Path(value)
    elif key in OF_WORKLOAD:
        raise UserError(f"{text}: write it after the NAME: of a workload")
    else:
        refuse_unknown(text, (*OWN, *OF_WORKLOAD), COMMAND)
        options.shared.append(text)


def _add(workload: Workload, text: str) -> None:
    key, _, value = text.partition("=")
    if key == "gpus":
        if not re.fullmatch(r"[\w-]+(,[\w-]+)*", value):
            raise UserError(f"{text}: write numbers or UUIDs of GPUs, e.g. gpus=0,1")
        workload.gpus = value
    elif key == "cores":
        workload.cores = _cores(text)
    elif key in OWN:
        raise UserError(f"{text}: write it before the first NAME:")
    else:
        refuse_unknown(text, OF_WORKLOAD, COMMAND)
        workload.options.append(text)


def _cores(text: str) -> list[int]:
    cores: set[int] = set()
    for part in text.partition("=")[2].split(","):
        low, dash, high = part.partition("-")
        begin = whole_number(low, 10**6)
        end = whole_number(high, 10**6) if dash else begin
        if begin is None or end is None or end < begin:
            raise UserError(f"{text}: write cores like cores=0-3,8")
        cores |= set(range(begin, end + 1))
    return sorted(cores)
