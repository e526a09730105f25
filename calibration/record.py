"""The new folder of a checkpoint, and the record in it of how it was made."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from safetensors import SafetensorError

from base.errors import Aborted, UserError
from base.log import announce
from calibration.prompts import Prompts
from calibration.source import Source


def check_new(out: Path) -> None:
    """Refuse a folder that exists, or that could not be made.

    Raises:
        UserError: see above.
    """
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: exists; name a new folder")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder; make it first")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a draft beside `out`, and move it there if all went well.

    Whatever interrupts the work, SIGKILL aside, the draft does not stay.

    Raises:
        Aborted: something could not be written, e.g. as the disk is full.
        UserError: `out` has come into being meanwhile.
    """
    draft = out.with_name(f".{out.name}.{os.getpid()}.draft")
    try:
        draft.mkdir()
        yield draft
        check_new(out)
        draft.rename(out)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise Aborted(f"{out}: cannot be written: {reason}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


NAME = "calibration.json"


class ScalesRecord(msgspec.Struct, kw_only=True):
    """How the scales were found."""

    weights: str = "fp8 e4m3, static, one a tensor, by the largest magnitude"
    input_activations: str = "fp8 e4m3, static, one a tensor, by the largest magnitude"
    kv_cache: str = "fp8 e4m3, static, one a tensor, by the largest magnitude"
    shared: str = "q, k, v and gate, up: the largest of their weights' scales"
    left_out: list[str] = msgspec.field(default_factory=lambda: ["lm_head"])


class CalibrationSet(msgspec.Struct, kw_only=True):
    """What the model was shown."""

    sha256: str
    """Of the file that `qsl.prepare` made."""
    rows: int
    """In that file."""
    samples: int
    """Used, the first ones."""
    tokens: int
    """In these samples."""


class CalibrationRecord(msgspec.Struct, kw_only=True):
    """The content of calibration.json."""

    scales: ScalesRecord = msgspec.field(default_factory=ScalesRecord)
    calibration_set: CalibrationSet
    source_sha256: dict[str, str]
    """Digests of the files that the checkpoint was made from, by name."""
    device: str
    versions: dict[str, str]


def make_record(
    source: Source, prompts: Prompts, device: str, versions: dict[str, str]
) -> CalibrationRecord:
    """Return the record; takes a while, since all weights are read."""
    announce("taking the source's digests")
    files = [source.path / "config.json", *source.weights, *source.companions]
    return CalibrationRecord(
        calibration_set=CalibrationSet(
            sha256=prompts.sha256,
            rows=prompts.rows,
            samples=len(prompts.tokens),
            tokens=sum(map(len, prompts.tokens)),
        ),
        source_sha256={path.name: _digest(path) for path in sorted(files)},
        device=device,
        versions=versions,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
