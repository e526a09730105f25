"""Completes the options of a run on the command line: `engine=vl` to `engine=vllm`."""

from collections.abc import Iterator

from conf.help import option_sections
from conf.load import GROUPS, choices

_SWITCHES = ("--help", "--version", "--config", "--dry-run")


def completions(incomplete: str) -> list[str]:
    """Return the options that begin with `incomplete`, sorted.

    Options that the shell may go on with end in `=`; where the value is one of a few,
    each is offered.
    """
    return sorted({text for text in _candidates() if text.startswith(incomplete)})


def _candidates() -> Iterator[str]:
    yield from _SWITCHES
    for group in GROUPS:
        yield from (f"{group}={name}" for name in choices(group))
    for _, options in option_sections():
        for option in options:
            values = {"BOOL": ["true", "false"]}.get(option.values, [""])
            if "|" in option.values:
                values = option.values.split("|")
            yield from (f"{option.name}={value}" for value in values)
