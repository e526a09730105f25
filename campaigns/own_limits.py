"""Latency limits of the user's own, as options of a command."""

import re
from collections.abc import Sequence
from typing import get_args

from base.errors import UserError
from campaigns.options import number_option
from forecast.limits import Goodput, Limit, Limits, Metric

_PERCENTILE = re.compile(r"(ttft|tpot|e2e)_p(\d{1,2}(?:\.\d+)?)_ms")
_METRICS: tuple[Metric, ...] = get_args(Metric)
_PLAIN = tuple(f"goodput.{metric}_ms" for metric in _METRICS)


def is_limit(text: str) -> bool:
    """Return whether the option `text` (key=value) is a limit."""
    key = text.partition("=")[0]
    return bool(_PERCENTILE.fullmatch(key)) or key == "goodput" or key in _PLAIN


def parse_limits(options: Sequence[str]) -> Limits | None:
    """Return the limits of the options; None: there are none.

    Args:
        options: `ttft_p99_ms=200`, `tpot_p90_ms=40`, `e2e_p95_ms=5000`, and
            `goodput=0.95` with `goodput.ttft_ms=`, `goodput.tpot_ms=`,
            `goodput.e2e_ms=`.

    Raises:
        UserError: a value makes no sense, or one of goodput's options is missing.
    """
    limits: list[Limit] = []
    share, joint = None, list[tuple[Metric, float]]()
    for text in options:
        key = text.partition("=")[0]
        if found := _PERCENTILE.fullmatch(key):
            percent = float(found[2])
            if not 0 < percent < 100:
                raise UserError(f"{text}: a percentile is between 0 and 100")
            metric = next(m for m in _METRICS if m == found[1])
            limits.append(Limit(metric, _ms(text), percent / 100))
        elif key == "goodput":
            share = number_option(text, "0.95", below=1)
        else:
            metric = next(m for m in _METRICS if key == f"goodput.{m}_ms")
            joint.append((metric, _ms(text)))
    if (share is None) != (not joint):
        raise UserError(
            "goodput= needs a limit for single queries, and such a limit needs"
            " goodput=; e.g. goodput=0.95 goodput.ttft_ms=200 goodput.tpot_ms=40"
        )
    if not limits and share is None:
        return None
    return Limits(
        ttft_s=None,
        tpot_s=None,
        percentile=0.99,
        more=tuple(limits),
        goodput=None if share is None else Goodput(share, tuple(joint)),
    )


def _ms(text: str) -> float:
    return number_option(text, "200") / 1000
