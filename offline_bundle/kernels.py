"""Carries FlashInfer's compiled kernels, so that no host compiles them again."""

import shutil
from pathlib import Path

from base.errors import UserError

AHEAD = Path("flashinfer/data/aot")
"""Where FlashInfer looks for libraries that were compiled ahead, below site."""


def add_kernels(site: Path, cache: Path, version: str | None) -> str:
    """Copy compiled kernels into `site`; return the architecture, as in `90a`.

    FlashInfer would build the kernels of a cache again: it compares times of files, and
    the sources that are carried were unpacked later than the kernels were compiled.

    Args:
        site: packages that are carried.
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
    architectures = {path.parents[2].name for path in libraries}
    if len(architectures) > 1:
        raise UserError(
            f"--kernels {cache}: kernels of {', '.join(sorted(architectures))}: keep"
            " those of one architecture"
        )
    for path in libraries:
        folder = site / AHEAD / path.stem
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)
    return architectures.pop()
