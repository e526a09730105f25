"""What vLLM reports about options that it refuses, in words of our own options."""

import difflib
import re
from collections.abc import Mapping
from typing import Any

import pydantic

OWN_OPTIONS: dict[str, str | None] = {
    "model": "model.path",
    "dtype": "model.dtype",
    "max_model_len": "model.max_model_len",
    "skip_tokenizer_init": None,
    "stream_interval": None,
    "disable_log_stats": None,
    "data_parallel_size": "cluster.replicas",
}
"""Engine arguments that other options decide; None: that nobody may change."""
_LONGEST_REASON, _LONGEST_VALUE, _SHORT_LIST = 300, 60, 12


def config_problem(error: Exception, options: Mapping[str, Any]) -> str:
    """Return what is wrong with a configuration that vLLM refused, in one line.

    Args:
        error: what vLLM raised; of pydantic mostly.
        options: vLLM arguments that the user gave.
    """
    if not isinstance(error, pydantic.ValidationError):
        return _with_option(first_line(error), str(error), options)
    problems = error.errors(include_url=False)
    # Of a union's members the one that lists its values says most.
    first = next((p for p in problems if p["type"] == "literal_error"), problems[0])
    reason = " ".join(first["msg"].removeprefix("Value error, ").split())
    if not first["loc"]:
        return _with_option(reason[:_LONGEST_REASON], reason, options)
    name, value = str(first["loc"][0]), str(first["input"])[:_LONGEST_VALUE]
    option = OWN_OPTIONS.get(name) or (
        f"engine.options.{name}" if name in options else name
    )
    if first["type"] == "literal_error":
        reason = _choices(value, str(first.get("ctx", {}).get("expected")))
    return f"{option}={value}: {reason[:_LONGEST_REASON]}"


def _with_option(shown: str, whole: str, options: Mapping[str, Any]) -> str:
    """Return a reason that names no option, with the option whose value it quotes."""
    for name, value in options.items():
        if not isinstance(value, str) or value not in re.findall(r"[\w.-]+\w", whole):
            continue
        _, listed, choices = whole.partition(" one of ")
        text = value[:_LONGEST_VALUE]
        reason = _choices(text, choices) if listed else shown
        return f"engine.options.{name}={text}: {reason}"
    return shown


def first_line(error: Exception) -> str:
    """Return the first line of an error's message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:_LONGEST_REASON] if lines else type(error).__name__


def _choices(value: str, expected: str) -> str:
    known = re.findall(r"'([^']*)'", expected)
    near = difflib.get_close_matches(value, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    if len(known) > _SHORT_LIST:
        return f"vLLM has no such value{hint}"
    return f"must be one of {', '.join(known)}{hint}"
