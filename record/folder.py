"""The run folder: names of its files, and how they are written and read."""

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import msgspec

from base.decode import DecodeError, decode_json, decode_with, decode_yaml
from base.errors import ExitCode, SutError


class RecordError(SutError):
    """A file of a run folder is missing or damaged."""

    exit_code = ExitCode.BAD_INPUT

    def __init__(self, path: Path, problem: str, line: int | None = None) -> None:
        """Name the file, the line where it is known, and the problem."""
        where = f"{path}:{line}" if line else str(path)
        super().__init__(f"{where}: {problem}")


T = TypeVar("T")

_CHUNK_BYTES = 8 * 2**20
DAMAGED = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
"""What a decoder raises for damaged text."""


def read_lines(path: Path, kind: type[T] | Any) -> Iterator[T]:
    """Yield each line of `path` decoded as `kind`.

    A last line without a newline was cut off when the run died, and is left out.

    Raises:
        RecordError: the file is missing, or another line does not fit `kind`.
    """
    for batch in read_batches(path, kind):
        yield from batch


def read_batches(path: Path, kind: type[T] | Any) -> Iterator[list[T]]:
    """Yield the lines of `path` as `read_lines` does, in batches of about 10,000.

    Raises:
        RecordError: the file is missing, or a whole line does not fit `kind`.
    """
    decoder = msgspec.json.Decoder(kind)
    before, rest = 0, b""
    try:
        refuse_pipe(path)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                whole, newline, tail = (rest + chunk).rpartition(b"\n")
                rest = tail
                if newline:
                    yield _decode(path, decoder, whole, before)
                    before += whole.count(b"\n") + 1
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error


def cut_off(path: Path) -> bool:
    """Return whether the last line of `path` lacks its newline.

    Raises:
        RecordError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            if not file.tell():
                return False
            file.seek(-1, 2)
            return file.read(1) != b"\n"
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error


def _decode(
    path: Path, decoder: msgspec.json.Decoder[T], text: bytes, before: int
) -> list[T]:
    # All lines at once take half of the time; a damaged one is then looked for.
    with contextlib.suppress(*DAMAGED):
        every = decoder.decode_lines(text)
        if len(every) == text.count(b"\n") + 1:
            return every
    found: list[T] = []
    try:
        for line in text.split(b"\n"):
            found.append(decode_with(decoder, line))
    except DecodeError as error:
        raise RecordError(path, str(error), before + len(found) + 1) from error
    return found


_MOST_AT_ONCE = 1000
"""Most runs that may start within one second under the same root."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder; every file name of the contract is a property here."""

    path: Path

    @classmethod
    def create(cls, root: Path, label: str) -> "RunFolder":
        """Make `root/<UTC time>-<label>`; `root/latest` does not change.

        Raises:
            OSError: the folder cannot be made.
        """
        root.mkdir(parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for attempt in range(_MOST_AT_ONCE):
            path = root / (f"{stamp}-{label}" + (f"-{attempt}" if attempt else ""))
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return cls(path)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))

    def become_latest(self) -> str | None:
        """Let the link `latest`, beside this folder, point to it.

        The link is only a convenience: some file systems have no links, and in a copied
        root `latest` may be a folder.

        Returns:
            Why the link was not set; None if it was.
        """
        link = self.path.parent / "latest"
        if link.exists() and not link.is_symlink():
            return f"{link} is not a link and was not changed; move it away"
        # A name that no other process uses, wherever it runs.
        draft = link.with_name(f".latest-{token_hex(8)}")
        try:
            draft.symlink_to(self.path.name)
            draft.replace(link)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            return f"{link} does not point at this run: {error.strerror}"
        return None

    def discard(self) -> None:
        """Remove the folder of a run that was refused before it started."""
        shutil.rmtree(self.path, ignore_errors=True)

    def __truediv__(self, name: str) -> Path:
        """Return the path of the file `name` in this folder."""
        return self.path / name

    @property
    def summary_log(self) -> Path:
        """LoadGen's summary."""
        return self.path / "mlperf_log_summary.txt"

    @property
    def detail_log(self) -> Path:
        """LoadGen's detail log, one JSON object on each line."""
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
        """Replicas as they were when ready."""
        return self.path / "replicas.json"

    @property
    def samples(self) -> Path:
        """One line per sample."""
        return self.path / "samples.jsonl"

    @property
    def events(self) -> Path:
        """One line for each fault and each reaction to it."""
        return self.path / "events.jsonl"

    @property
    def clock(self) -> Path:
        """How the host's clock behaved during LoadGen's test."""
        return self.path / "clock.json"

    @property
    def status(self) -> Path:
        """The state of the run, each second: `record.status`."""
        return self.path / "status.json"

    @property
    def telemetry(self) -> Path:
        """Device and engine state, once a second."""
        return self.path / "telemetry.jsonl"

    @property
    def steps(self) -> Path:
        """One record per engine step: `record.steps`; absent with run.steps=false."""
        return self.path / "steps.bin"

    @property
    def forecast(self) -> Path:
        """What another run would do, written by `python -m forecast`."""
        return self.path / "forecast.json"

    @property
    def verdict(self) -> Path:
        """The gate's verdict."""
        return self.path / "verdict.json"

    def replica_log(self, replica: int) -> Path:
        """Return the file that receives the output of a replica's process."""
        return self.path / "replicas" / f"replica-{replica}.log"


def write_json(path: Path, value: object) -> None:
    """Write `value` (structs, dicts, lists) as indented JSON, atomically."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    write_text(path, text.decode() + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, atomically."""
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    try:
        draft.write_text(text)
        draft.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError) and error.filename is None:
            # A full disk is noticed by `write`, which does not know the path.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def read_json(path: Path, kind: type[T]) -> T:
    """Return the file `path` decoded as `kind`.

    Raises:
        RecordError: the file is missing or does not fit `kind`.
    """
    return _read(path, kind, decode_json)


def read_yaml(path: Path, kind: type[T]) -> T:
    """Return the YAML file `path` decoded as `kind`.

    Raises:
        RecordError: the file is missing or does not fit `kind`.
    """
    return _read(path, kind, decode_yaml)


def refuse_pipe(path: Path) -> None:
    """Refuse a pipe in the place of a record.

    Raises:
        RecordError: it is one.
        OSError: there is no such file.
    """
    if stat.S_ISFIFO(path.stat().st_mode):
        raise RecordError(path, "a pipe, not a file: it would be waited for, for ever")


def _read(path: Path, kind: type[T], decode: Callable[[bytes, type[T]], T]) -> T:
    try:
        refuse_pipe(path)
        return decode(path.read_bytes(), kind)
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error
    except DecodeError as error:
        raise RecordError(path, str(error)) from error
