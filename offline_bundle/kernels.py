"""Carries FlashInfer's compiled kernels, so that no host compiles them again."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from base.errors import UserError

AHEAD = Path("flashinfer/data/aot")
"""Where FlashInfer looks for libraries that were compiled ahead, below site."""


def find_kernels(cache: Path, version: str | None) -> list[Path]:
    """Return the compiled kernels in a cache of FlashInfer.

    Args:
        cache: `.cache/flashinfer` of a host that compiled them.
        version: of the FlashInfer that is carried; None: it is not.

    Raises:
        UserError: there are no kernels of this release in it, or of two architectures.
    """
    if version is None:
        raise UserError("--kernels needs flashinfer-python among the carried packages")
    found = sorted((cache / version).glob("*/cached_ops/*/*.so"))
    libraries = [path for path in found if path.stem == path.parent.name]
    if not libraries:
        raise UserError(
            f"--kernels {cache}: there are no compiled kernels of FlashInfer {version}"
            " (VERSION/ARCHITECTURE/cached_ops/NAME/NAME.so); name .cache/flashinfer of"
            " a host that ran with this release"
        )
    architectures = {_architecture(path) for path in libraries}
    if len(architectures) > 1:
        raise UserError(
            f"--kernels {cache}: kernels of {', '.join(sorted(architectures))}: keep"
            " those of one architecture"
        )
    return libraries


def add_kernels(site: Path, libraries: Sequence[Path]) -> str:
    """Copy compiled kernels into `site`; return the architecture, as in `90a`.

    FlashInfer would build the kernels of a cache again: it compares times of files, and
    the sources that are carried were unpacked later than the kernels were compiled.

    Args:
        site: packages that are carried.
        libraries: of `find_kernels`; at least one.
    """
    for path in libraries:
        folder = site / AHEAD / path.stem
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)
    return _architecture(libraries[0])


def _architecture(library: Path) -> str:
    return library.parents[2].name
