from pathlib import Path

import pytest

from base.errors import UserError
from offline_bundle.kernels import AHEAD, add_kernels, find_kernels


def _compiled(cache: Path, architecture: str, *names: str) -> None:
    for name in names:
        folder = cache / "0.6.14" / architecture / "cached_ops" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.so").write_bytes(b"library")
        (folder / "part.cuda.o").write_bytes(b"object")
        (folder / "build.ninja").touch()


def test_libraries_lie_where_flashinfer_looks_for_them(tmp_path: Path) -> None:
    cache, site = tmp_path / "flashinfer", tmp_path / "site"
    _compiled(cache, "90a", "xqa", "batch_prefill")
    # One that was being compiled when the cache was copied.
    (cache / "0.6.14" / "90a" / "cached_ops" / "tmp").mkdir()
    assert add_kernels(site, find_kernels(cache, "0.6.14")) == "90a"
    found = sorted(p.relative_to(site / AHEAD) for p in site.rglob("*") if p.is_file())
    assert found == [Path("batch_prefill/batch_prefill.so"), Path("xqa/xqa.so")]


def test_kernels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    cache = tmp_path / "flashinfer"
    _compiled(cache, "90a", "xqa")
    with pytest.raises(UserError, match=r"no compiled kernels of FlashInfer 0\.7\.0"):
        find_kernels(cache, "0.7.0")
    with pytest.raises(UserError, match="needs flashinfer-python"):
        find_kernels(cache, None)
    _compiled(cache, "100a", "xqa")
    with pytest.raises(UserError, match="kernels of 100a, 90a"):
        find_kernels(cache, "0.6.14")
