"""Completes the options of a run on the command line: `engine=vl` to `engine=vllm`."""

import glob
import os
from collections.abc import Iterator

from conf.help import option_sections
from conf.load import GROUPS, choices

_SWITCHES = ("--help", "--version", "--config", "--dry-run")
_PATHS = (".path", ".dir", "_file", ".key")
"""How the names of options end whose value is a path."""


def completions(incomplete: str) -> list[str]:
    """Return the options that begin with `incomplete`, sorted.

    What the shell may go on with ends in `=`, or in `/` where it is a folder; where the
    value is one of a few, each is offered.
    """
    name, equals, begin = incomplete.partition("=")
    if equals and name.endswith(_PATHS):
        return [f"{name}={path}" for path in _paths(begin)]
    return sorted({text for text in _candidates() if text.startswith(incomplete)})


def _paths(begin: str) -> Iterator[str]:
    home = os.path.expanduser("~")  # noqa: PTH111  (the shell's own reading of ~)
    tilde = begin.startswith("~/")
    pattern = glob.escape(home + begin[1:] if tilde else begin) + "*"
    for path in sorted(glob.glob(pattern)):  # noqa: PTH207  (keeps "./" and "..")
        text = "~" + path.removeprefix(home) if tilde else path
        yield text + "/" if os.path.isdir(path) else text  # noqa: PTH112


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
