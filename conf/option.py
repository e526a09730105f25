"""Declares a configuration field together with its help text and its range."""

from dataclasses import MISSING, Field, field
from typing import Any

_LARGEST = 1e12
"""No option means anything beyond it, and LoadGen's integers would overflow."""


def option(
    help_text: str,
    default: Any = MISSING,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Any:
    """Return a dataclass field that carries `help_text` and the range it must keep.

    Args:
        help_text: one line for `--help`.
        default: the value where the user gives none; a `list` or `dict` is copied.
        above: exclusive lower bound.
        at_least: inclusive lower bound.
        at_most: inclusive upper bound.
    """
    metadata = {
        "help": help_text,
        "above": above,
        "at_least": at_least,
        "at_most": at_most,
    }
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def range_error(spec: Field[Any], value: object) -> str | None:
    """Return what is wrong with `value` for the field `spec`, or None."""
    if isinstance(value, str) and not value.strip():
        return "is empty"
    if isinstance(value, dict):
        problems = (range_error(spec, item) for item in value.values())
        return next((problem for problem in problems if problem), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    above, low, high = (spec.metadata.get(k) for k in ("above", "at_least", "at_most"))
    if value != value or value in (float("inf"), float("-inf")):
        return "is not a finite number"
    if abs(value) > _LARGEST:
        return f"is {value}, must be at most {_LARGEST:g}"
    if above is not None and value <= above:
        return f"is {value}, must be above {above:g}"
    if low is not None and value < low:
        return f"is {value}, must be at least {low:g}"
    if high is not None and value > high:
        return f"is {value}, must be at most {high:g}"
    return None
