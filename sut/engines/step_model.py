"""The model of a step's time that adaptive batching uses: its fit, and its way there.

The engine's scheduler may live in another process, so the model goes to it through
shared memory, once, before LoadGen's clock starts.
"""

import mmap
import os
import struct
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from record.steps import Steps
from sut.wire.messages import StepModel

ADAPTIVE_VARIABLE = "MLPERF_SUT_ADAPTIVE"
"""Environment variable by which a scheduler finds its settings."""
_FIELDS = struct.Struct("<?xxxxxxxdddd")
_ROUNDS = 6
_FAR = 4.0
"""Median absolute deviations beyond which a step does not count."""
COLD = 8
"""First steps, which are left out: kernels may be compiled in them."""
STRETCH = 8
"""Consecutive steps whose means are fitted. An asynchronous engine's step can end late
and the next one early: a single duration is in part its neighbor's. On a GPU the cost
of a prompt token, fitted from single steps, came out 14 to 20% too small."""
FEWEST = 8 * STRETCH
"""Steps that a fit needs beside the cold ones."""


class ModelSlot:
    """Holds one model, from one process for another."""

    def __init__(self, path: Path) -> None:
        """Make the slot, or open the one that is there.

        Raises:
            OSError: the file cannot be made or mapped.
        """
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, _FIELDS.size)
            self._memory = mmap.mmap(file.fileno(), _FIELDS.size)

    def put(self, model: StepModel) -> None:
        """Hand the model over."""
        values = model.step_s, model.prefill_s, model.decode_s, model.cached_s
        _FIELDS.pack_into(self._memory, 0, False, *values)
        # The mark comes last: a reader in another process sees all of it or nothing.
        self._memory[0] = 1

    def get(self) -> StepModel | None:
        """Return the model, if it is there."""
        if not self._memory[0]:
            return None
        return StepModel(*_FIELDS.unpack_from(self._memory)[1:])


def padded(tokens: int, graph_sizes: Sequence[int]) -> int:
    """Return the tokens that a step of `tokens` computes.

    Args:
        tokens: of the step.
        graph_sizes: tokens of the engine's CUDA graphs, in ascending order; a step of
            more than the largest runs without a graph.
    """
    above = bisect_left(graph_sizes, tokens)
    return tokens if above == len(graph_sizes) else graph_sizes[above]


def fit_step_model(
    steps: Steps, kv_blocks: int, kv_block: int, graph_sizes: Sequence[int] = ()
) -> tuple[StepModel, float] | None:
    """Return the model of recorded steps, and its median relative error (a stretch).

    Least squares of relative residuals over means of `STRETCH` steps, coefficients of
    0 or more; stretches that are far off do not count. None: there are too few steps,
    or prompts cost nothing in them.

    Args:
        steps: of one engine in order of time, the first ones cold.
        kv_blocks: blocks of its KV cache.
        kv_block: tokens of a block.
        graph_sizes: tokens of the engine's CUDA graphs, in ascending order.
    """
    steps = steps[COLD:]
    if len(steps) < FEWEST:
        return None
    seconds = _means(np.maximum(steps["duration_ns"] / 1e9, 1e-9)[:, None])[:, 0]
    design = _means(_design(steps, kv_blocks, kv_block, graph_sizes))
    scale = np.maximum(design.max(axis=0), 1e-12)
    fitted, use = seconds, np.ones(len(seconds), bool)
    off = np.zeros(len(seconds))
    for _ in range(_ROUNDS):
        weights = use / fitted
        scaled, _ = nnls(design / scale * weights[:, None], seconds * weights)
        fitted = np.maximum(design @ (scaled / scale), 1e-9)
        off = seconds / fitted - 1
        distance = np.abs(off - np.median(off))
        use = distance <= max(_FAR * np.median(distance), 1e-3)
    coefficients = (scaled / scale).tolist()
    if not coefficients[1]:
        return None
    return StepModel(*coefficients), float(np.median(np.abs(off)))


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means of `STRETCH` rows each; rows that are left over do not count."""
    stretches = len(values) // STRETCH
    parts = values[: stretches * STRETCH].reshape(stretches, STRETCH, -1)
    return np.asarray(parts.mean(axis=1))


def _design(
    steps: Steps, kv_blocks: int, kv_block: int, graph_sizes: Sequence[int]
) -> NDArray[np.float64]:
    cached = (kv_blocks - steps["kv_blocks_free"].astype(float)) * kv_block
    decoding = steps["decode_sequences"].astype(float)
    tokens = steps["prefill_tokens"] + decoding
    # As in `padded`; what is padded costs as much as a prompt's tokens.
    sizes = np.append(np.asarray(graph_sizes, float), np.inf)
    above = sizes[np.searchsorted(sizes, tokens)]
    computed = np.where(np.isinf(above), tokens, above)
    columns = [np.ones(len(steps)), computed - decoding, decoding, cached.clip(0)]
    return np.stack(columns, axis=1)
