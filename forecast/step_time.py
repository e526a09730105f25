"""How long an engine's step takes, fitted from its step records.

duration = a + b x prefill tokens + c x decoding sequences + d x prompts in the step
           + e x tokens in the KV cache

With CUDA graphs, what a step is padded to counts as prefill tokens. The fit is of means
of consecutive steps: a recorded duration of an asynchronous engine is in part its
neighbor's, which made prompts up to a quarter cheaper than they are. All coefficients
are 0 or more: work never makes a step shorter. Residuals are relative, so that short
steps count as much as long ones; stretches far off the fit (a compiler, a paused host)
do not bend it. What is left of each step is kept in order, since noise of real engines
comes in stretches: its duration over the fit's as far as that is usual, and what
exceeds it in seconds, since a pause is as long in a short step as in a long one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from record.steps import Steps

Array = NDArray[np.float64]
_ROUNDS = 8
_FAR = 4.0
"""Robust standard deviations beyond which a step does not count."""
_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""
_BLOCK = 64
"""Steps of a stretch of noise."""
FEWEST = 50
"""Steps that a fit needs."""
_STRETCH = 8
"""Most steps whose mean is one point of the fit."""
_POINTS = 64
"""Points that are kept where there are few steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """A fitted model of one replica."""

    coefficients: Array
    """Of 1, prefill tokens, decoding sequences, prompts, cached tokens; s each."""
    overhead_s: float
    """Mean time between two steps of an engine that has work."""
    factors: Array
    """Duration over fit of each recorded step, in order of time, within what is usual.
    """
    extra_s: Array
    """What a step took beyond that."""
    most: Array
    """Most prefill tokens, decoding sequences and cached tokens of a recorded step."""

    def duration_s(self, prefill: int, decode: int, begun: int, context: int) -> float:
        """Return the time from the begin of a step to that of the next, without noise.

        Args:
            prefill: prompt tokens in the step.
            decode: sequences past their prompt.
            begun: requests with a part of their prompt in it.
            context: tokens in the KV cache.
        """
        one, per_token, per_sequence, per_prompt, per_cached = self._plain
        return (
            one
            + per_token * prefill
            + per_sequence * decode
            + per_prompt * begun
            + per_cached * context
        )

    @property
    def _plain(self) -> tuple[float, ...]:
        first, *others = self.coefficients.tolist()
        return (first + self.overhead_s, *others)

    def noise(self, rng: np.random.Generator) -> Iterator[tuple[float, float]]:
        """Yield a factor on a step's duration, and seconds more: recorded stretches."""
        count = len(self.factors)
        while True:
            begin = int(rng.integers(0, max(1, count - _BLOCK + 1)))
            part = slice(begin, begin + _BLOCK)
            yield from zip(
                self.factors[part].tolist(), self.extra_s[part].tolist(), strict=True
            )

    @property
    def error(self) -> float:
        """Median relative error of a recorded step."""
        return float(np.median(np.abs(self.factors - 1)))


def columns(
    steps: Steps,
    kv_tokens: int | None,
    kv_block: int,
    graph_sizes: Sequence[int] = (),
) -> Array:
    """Return what the model's coefficients multiply, shape (steps, 5).

    Args:
        steps: of one replica.
        kv_tokens: size of its KV cache in tokens; None: it has none.
        kv_block: tokens of a block.
        graph_sizes: tokens of the engine's CUDA graphs, in ascending order.
    """
    free = steps["kv_blocks_free"].astype(float)
    cached = np.zeros(len(steps))
    if kv_tokens is not None:
        cached = np.where(free >= 0, kv_tokens - free * kv_block, 0.0).clip(0)
    decode = steps["decode_sequences"].astype(float)
    prefill = steps["prefill_tokens"].astype(float)
    # Requests that run and did not decode had a part of their prompt in the step, as
    # far as the budget went.
    prompts = np.where(prefill > 0, (steps["running"] - decode).clip(1), 0.0)
    # As in `padded`.
    sizes = np.append(np.asarray(graph_sizes, float), np.inf)
    above = sizes[np.searchsorted(sizes, prefill + decode)]
    computed = np.where(np.isinf(above), prefill, above - decode)
    return np.stack([np.ones(len(steps)), computed, decode, prompts, cached], axis=1)


def fit_step_time(
    steps: Steps,
    kv_tokens: int | None = None,
    kv_block: int = 16,
    graph_sizes: Sequence[int] = (),
) -> StepTime:
    """Return the model of one replica.

    Args:
        steps: its records in order of time, at least `FEWEST`.
        kv_tokens: size of its KV cache in tokens; None: it has none.
        kv_block: tokens of a block.
        graph_sizes: tokens of the engine's CUDA graphs, in ascending order.
    """
    seconds = np.maximum(steps["duration_ns"] / 1e9, 1e-9)
    design = columns(steps, kv_tokens, kv_block, graph_sizes)
    stretch = min(_STRETCH, max(1, len(steps) // _POINTS))
    coefficients = _fit(
        _means(design, stretch), _means(seconds[:, None], stretch)[:, 0]
    )
    fitted = np.maximum(design @ coefficients, 1e-9)
    off = seconds / fitted - 1
    middle, usual = _usual(off)
    factors = np.minimum(1 + off, 1 + middle + usual)
    return StepTime(
        coefficients=coefficients,
        overhead_s=_overhead(steps),
        factors=factors,
        extra_s=seconds - fitted * factors,
        most=np.array(
            [steps["prefill_tokens"].max(), *design[:, [2, 4]].max(axis=0)], float
        ),
    )


def _fit(design: Array, seconds: Array) -> Array:
    """Return the coefficients; points far off do not count."""
    scale = np.maximum(design.max(axis=0), 1e-12)
    fitted, use = seconds, np.ones(len(seconds), bool)
    for _ in range(_ROUNDS):
        weights = use / np.maximum(fitted, 1e-9)
        scaled, _ = nnls(design / scale * weights[:, None], seconds * weights)
        fitted = np.maximum(design @ (scaled / scale), 1e-9)
        off = seconds / fitted - 1
        middle, usual = _usual(off)
        use = np.abs(off - middle) <= usual
    return np.asarray(scaled / scale)


def _usual(off: Array) -> tuple[float, float]:
    """Return the median of relative residuals, and how far from it is usual."""
    middle = float(np.median(off))
    deviation = _TO_SIGMA * float(np.median(np.abs(off - middle)))
    return middle, max(_FAR * deviation, 1e-3)


def _means(values: Array, stretch: int) -> Array:
    """Return means of `stretch` rows each; rows that are left over do not count."""
    points = len(values) // stretch
    parts = values[: points * stretch].reshape(points, stretch, -1)
    return np.asarray(parts.mean(axis=1))


def _overhead(steps: Steps) -> float:
    """Return the mean time between steps where the engine surely had work."""
    ends = steps["start_ns"][:-1] + steps["duration_ns"][:-1]
    gaps = (steps["start_ns"][1:] - ends) / 1e9
    # A sequence that decodes now was there before: the engine was not idle.
    gaps = gaps[steps["decode_sequences"][1:] > 0]
    if not len(gaps):
        return 0.0
    return float(np.mean(np.minimum(gaps, np.quantile(gaps, 0.99))))


def resampled(
    model: StepTime,
    steps: Steps,
    kv_tokens: int | None,
    kv_block: int,
    seed: int,
    graph_sizes: Sequence[int] = (),
) -> StepTime:
    """Return the model of a bootstrap sample of `steps`, drawn in stretches.

    The stretches are ten times as long as those of the noise, so that what is common
    to them, a clock that drifts say, is in the spread of the models.
    """
    rng = np.random.default_rng(seed)
    length = min(len(steps), 10 * _BLOCK)
    begins = rng.integers(0, len(steps) - length + 1, -(-len(steps) // length))
    places = (begins[:, None] + np.arange(length)).ravel()[: len(steps)]
    drawn = fit_step_time(steps[places], kv_tokens, kv_block, graph_sizes)
    # Gaps between steps that were put side by side mean nothing.
    return StepTime(
        coefficients=drawn.coefficients,
        overhead_s=model.overhead_s,
        factors=drawn.factors,
        extra_s=drawn.extra_s,
        most=model.most,
    )


def scaled(model: StepTime, factor: float) -> StepTime:
    """Return the model of an engine whose steps all take `factor` times as long."""
    return replace(
        model,
        coefficients=model.coefficients * factor,
        overhead_s=model.overhead_s * factor,
        extra_s=model.extra_s * factor,
    )
