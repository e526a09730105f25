"""What the headers of safetensors files state; the weights are not read."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from base.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a checkpoint."""

    dtype: str
    """As safetensors names it: BF16, F32, F8_E4M3."""
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def read_headers(files: Sequence[Path]) -> dict[str, Tensor]:
    """Return the tensors of `files` by name.

    Raises:
        UserError: a file is damaged or cannot be read.
    """
    found: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="np") as file:
                for name in file.keys():  # noqa: SIM118 - no dict
                    part = file.get_slice(name)
                    found[name] = Tensor(
                        dtype=part.get_dtype(), shape=tuple(part.get_shape())
                    )
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: no whole safetensors file: {error}") from error
    return found
