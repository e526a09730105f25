"""What the command lines of all campaigns share: KEY=VALUE, each key once."""

import difflib
from collections.abc import Iterable, Sequence

from base.decode import positive_number, whole_number
from base.errors import UserError
from conf.experiment_file import OPTION
from conf.load import GROUPS

_GROUPS = (*GROUPS, OPTION, "benchmark", "mode")


def whole_option(text: str, *, at_least: int = 0, at_most: int = 10**9) -> int:
    """Return the whole number of the option `text`, KEY=VALUE.

    Raises:
        UserError: the value is none from `at_least` to `at_most`.
    """
    number = whole_number(text.partition("=")[2], at_most)
    if number is None or number < at_least:
        raise UserError(f"{text}: write a whole number from {at_least} to {at_most:,}")
    return number


def number_option(text: str, example: str, *, below: float = 1e9) -> float:
    """Return the number of the option `text`, KEY=VALUE.

    Args:
        text: the option.
        example: a value that makes sense, for the message.
        below: bound that the number does not reach.

    Raises:
        UserError: the value is no number above 0 and below `below`.
    """
    key, _, value = text.partition("=")
    number = positive_number(value, below)
    if number is None:
        raise UserError(
            f"{text}: write a number above 0 and below {below:,.12g}, e.g."
            f" {key}={example}"
        )
    return number


def refuse_repeated(arguments: Iterable[str]) -> None:
    """Refuse an option that is given twice: one of its values would have no effect.

    Raises:
        UserError: one is.
    """
    given = set()
    for text in arguments:
        key, equals, _ = text.partition("=")
        key = key.lstrip("+")
        if key in given:
            raise UserError(f"{key}{equals} is given twice; give it once")
        given.add(key)


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
