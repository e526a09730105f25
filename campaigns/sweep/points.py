"""The points of a sweep: each is a set of options of `mlperf-sut run`."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import yaml

from base.decode import DecodeError, load_yaml
from base.errors import UserError

Point = dict[str, str]
"""Values by option."""
_MOST_POINTS = 10_000
_OPENING, _CLOSING = "[{(", "]})"


def split_values(text: str) -> list[str]:
    """Return the values of `a,b,c`; commas inside brackets and quotes separate none."""
    values, depth, quote, begin = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        elif letter == "," and not depth:
            values.append(text[begin:place])
            begin = place + 1
    return [*values, text[begin:]]


def point_options(point: Point) -> list[str]:
    """Return a point as options of a run."""
    return [f"{name}={value}" for name, value in point.items()]


def make_points(
    overrides: Sequence[str], listed: Sequence[Point]
) -> tuple[list[str], list[Point]]:
    """Return the options that all runs share, and the points.

    An option with several values (a,b,c) spans the grid with all others of its kind;
    each point of the grid is combined with each one of the list.

    Args:
        overrides: options of the command line.
        listed: points of a file; empty: there is none.

    Raises:
        UserError: there is one point only, or too many, or a value is missing.
    """
    shared: list[str] = []
    axes: dict[str, list[str]] = {}
    for text in overrides:
        key, _, value = text.partition("=")
        values = split_values(value)
        if len(values) == 1:
            shared.append(text)
            continue
        if not all(part.strip() for part in values):
            raise UserError(f"{text}: a value is missing between two commas")
        if len(set(values)) < len(values):
            raise UserError(f"{text}: a value occurs twice")
        axes[key] = values
    grid = [
        dict(zip(axes, values, strict=True))
        for values in itertools.product(*axes.values())
    ]
    points = [{**one, **other} for one in listed or [{}] for other in grid]
    if len(points) < 2:
        raise UserError(
            "a sweep has two points or more; give an option several values, e.g."
            " scenario.target_qps=2,4,6, or points=FILE"
        )
    if len(points) > _MOST_POINTS:
        raise UserError(
            f"{len(points):,} points, but a sweep has at most {_MOST_POINTS:,}; give"
            " fewer values"
        )
    return shared, points


def read_points(path: Path) -> list[Point]:
    """Return the points of a YAML or JSON file: a list of mappings option: value.

    Raises:
        UserError: it cannot be read, or is none.
    """
    try:
        found = load_yaml(path.read_bytes())
    except OSError as error:
        raise UserError(f"points={path}: {error.strerror or error}") from error
    except DecodeError as error:
        raise UserError(f"points={path} is not valid YAML: {error!s:.200}") from error
    if not isinstance(found, list) or not found:
        raise UserError(f"points={path} must be a list of mappings OPTION: VALUE")
    points = []
    for number, entry in enumerate(found, 1):
        if not isinstance(entry, dict) or not entry:
            raise UserError(f"points={path}: entry {number} is not a mapping")
        points.append({str(key): _text(value) for key, value in entry.items()})
    return points


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    flow: str = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return flow.removesuffix("\n").removesuffix("\n...")


def label(point: Point) -> str:
    """Return a point as a user would write it, without the names of groups."""
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in point.items())
