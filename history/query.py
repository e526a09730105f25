"""Chooses and orders the runs of a list."""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from datetime import date

from base.decode import whole_number
from history.entry import RunEntry

_TEXTS = ("scenario", "mode", "model", "engine", "outcome")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options of `choose` to a parser."""
    group = parser.add_argument_group("filters", "a run must match all of them")
    for name in _TEXTS:
        group.add_argument(f"--{name}", metavar="NAME", help=f"{name} of the run")
    group.add_argument("--host", metavar="NAME", help="a host of its replicas")
    group.add_argument("--device", metavar="TEXT", help="part of a device's name")
    group.add_argument(
        "--replicas", type=_count, metavar="N", help="number of replicas"
    )
    group.add_argument("--min-rate", type=_rate, metavar="X", help="samples/s at least")
    group.add_argument("--since", type=_date, metavar="DAY", help="first day, UTC")
    group.add_argument("--until", type=_date, metavar="DAY", help="last day, UTC")


def choose(runs: Sequence[RunEntry], options: argparse.Namespace) -> list[RunEntry]:
    """Return the runs that fit every filter in `options`."""
    tests: list[Callable[[RunEntry], bool]] = []
    for name in _TEXTS:
        if (wanted := getattr(options, name)) is not None:
            tests.append(lambda run, n=name, w=wanted: getattr(run, n) == w)  # type: ignore[misc]
    if (host := options.host) is not None:
        tests.append(lambda run: host in run.hosts)
    if (device := options.device) is not None:
        part = device.lower()
        tests.append(lambda run: any(part in name.lower() for name in run.devices))
    if options.replicas is not None:
        tests.append(lambda run: run.replicas == options.replicas)
    if options.min_rate is not None:
        tests.append(lambda run: (run.samples_per_s or 0.0) >= options.min_rate)
    if options.since is not None:
        tests.append(lambda run: run.started[:10] >= options.since)
    if options.until is not None:
        tests.append(lambda run: "" < run.started[:10] <= options.until)
    return [run for run in runs if all(test(run) for test in tests)]


def _date(text: str) -> str:
    try:
        # fromisoformat takes other forms, too, which do not compare as texts.
        known = bool(_DATE.fullmatch(text)) and date.fromisoformat(text)
    except ValueError:
        known = False
    if not known:
        raise argparse.ArgumentTypeError(f"{text}: write a day like 2026-11-28")
    return text


def _count(text: str) -> int:
    count = whole_number(text)
    if not count:
        raise argparse.ArgumentTypeError(f"{text}: write a number above 0")
    return count


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: write samples/s, e.g. 12.5")
    return rate
