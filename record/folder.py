"""Names of the files in a run folder, and the folder's creation."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from base.decode import DecodeError, decode_json
from record.errors import RecordError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder; every file name of the contract is a property here."""

    path: Path

    @classmethod
    def create(cls, root: Path, label: str) -> "RunFolder":
        """Make `root/<UTC time>-<label>` and point `root/latest` at it.

        Raises:
            OSError: the folder cannot be made.
        """
        root.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for attempt in range(1000):
            name = f"{stamp}-{label}" + (f"-{attempt}" if attempt else "")
            with contextlib.suppress(FileExistsError):
                (root / name).mkdir()
                break
        link = root / f".latest-{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        link.replace(root / "latest")
        return cls(root / name)

    def __truediv__(self, name: str) -> Path:
        """Return the path of the file `name` in this folder."""
        return self.path / name

    @property
    def summary_log(self) -> Path:
        """LoadGen's summary."""
        return self.path / "mlperf_log_summary.txt"

    @property
    def detail_log(self) -> Path:
        """LoadGen's detail log, one JSON object a line."""
        return self.path / "mlperf_log_detail.txt"

    @property
    def accuracy_log(self) -> Path:
        """LoadGen's record of answers."""
        return self.path / "mlperf_log_accuracy.json"

    @property
    def user_conf(self) -> Path:
        """The user.conf that LoadGen read."""
        return self.path / "user.conf"

    @property
    def audit_conf(self) -> Path:
        """The audit file that LoadGen read in compliance mode; absent otherwise."""
        return self.path / "audit.config"

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def source(self) -> Path:
        """SHA-256 of each source file that made the run."""
        return self.path / "source.json"

    @property
    def settings(self) -> Path:
        """Effective LoadGen settings."""
        return self.path / "settings.json"

    @property
    def replicas(self) -> Path:
        """Replicas as they stood when ready."""
        return self.path / "replicas.json"

    @property
    def samples(self) -> Path:
        """One line per sample."""
        return self.path / "samples.jsonl"

    @property
    def events(self) -> Path:
        """One line per fault and what was done about it."""
        return self.path / "events.jsonl"

    @property
    def telemetry(self) -> Path:
        """Device and engine state, once a second."""
        return self.path / "telemetry.jsonl"

    @property
    def verdict(self) -> Path:
        """The gate's verdict."""
        return self.path / "verdict.json"

    def replica_log(self, replica: int) -> Path:
        """Return where the output of a replica's process goes."""
        return self.path / "replicas" / f"replica-{replica}.log"


def write_json(path: Path, value: object) -> None:
    """Write `value` (structs, dicts, lists) as indented JSON, whole or not at all."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    write_text(path, text.decode() + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def read_json(path: Path, kind: type[T]) -> T:
    """Return the file `path` decoded as `kind`.

    Raises:
        RecordError: the file is missing or does not fit `kind`.
    """
    try:
        return decode_json(path.read_bytes(), kind)
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error
    except DecodeError as error:
        raise RecordError(path, str(error)) from error
