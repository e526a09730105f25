"""Declares a configuration field together with its help text and its range."""

from collections.abc import Sequence
from dataclasses import MISSING, Field, field
from typing import Any

_LARGEST = 1e12
"""No option needs a larger value, and LoadGen's integers would overflow."""
LONGEST_S = 1e6
"""Longest time of any option in s (11 days): ZeroMQ's timeouts are 32-bit ms."""


def option(
    help_text: str,
    default: Any = MISSING,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    one_of: Sequence[str] = (),
    path: bool = False,
) -> Any:
    """Return a dataclass field that carries `help_text` and the range it must keep.

    Args:
        help_text: one line for `--help`.
        default: the default value; a `list` or `dict` is copied.
        above: exclusive lower bound.
        at_least: inclusive lower bound.
        at_most: inclusive upper bound.
        one_of: the allowed texts; empty: any.
        path: whether it is a path, in which `~` is the home folder.
    """
    metadata = {
        "help": help_text,
        "above": above,
        "at_least": at_least,
        "at_most": at_most,
        "one_of": one_of,
        "path": path,
    }
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def range_error(spec: Field[Any], value: object) -> str | None:
    """Return what is wrong with `value` for the field `spec`, or None."""
    if isinstance(value, str):
        return _text_error(spec, value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        problems = (range_error(spec, item) for item in value)
        return next((problem for problem in problems if problem), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    above, low, high = (spec.metadata.get(k) for k in ("above", "at_least", "at_most"))
    if value != value or value in (float("inf"), float("-inf")):
        return "is not a finite number"
    if abs(value) > _LARGEST:
        return f"is too large, must be at most {min(high or _LARGEST, _LARGEST):.12g}"
    if above is not None and value <= above:
        return f"is {value}, must be above {above:g}"
    if low is not None and value < low:
        return f"is {value}, must be at least {low:g}"
    if high is not None and value > high:
        return f"is {value}, must be at most {high:.12g}"
    return None


def _text_error(spec: Field[Any], value: str) -> str | None:
    if not value.strip():
        return "is empty"
    try:
        value.encode()
    except UnicodeEncodeError:
        # Bytes of the command line that are not UTF-8: no record could store them.
        return f"is {value!a}: not UTF-8 text"
    allowed: Sequence[str] = spec.metadata.get("one_of") or ()
    if allowed and value not in allowed:
        return f"is {value!r}, must be one of {', '.join(allowed)}"
    return None
