"""Writes the files of a run folder that grow during the run, in its own thread."""

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from record.folder import RunFolder, write_text
from record.status import RunStatus
from record.steps import header
from record.structs import EventRecord, SampleRecord, TelemetryLine

_FLUSH_S = 0.2
_CLOSE_S = 60.0
"""Longest time to write the last records, since a file system may hang."""
_LINES_AT_ONCE = 128
"""Most lines encoded at once: encoding holds Python's lock, which LoadGen's thread
may be waiting for."""


class RecordWriter:
    """Takes records from any thread; its own thread encodes and writes them.

    `failure` is the error that stopped it, e.g. a full disk. The caller must check it.
    """

    def __init__(self, folder: RunFolder, steps: bool = False) -> None:
        """Open the files.

        Args:
            folder: the run folder.
            steps: whether engine steps are recorded.

        Raises:
            OSError: a file cannot be opened.
        """
        self.failure: Exception | None = None
        self._files: list[BinaryIO] = [
            path.open("wb")
            for path in (folder.samples, folder.events, folder.telemetry)
        ]
        self._steps_file = folder.steps.open("wb") if steps else None
        self._steps: deque[bytes] = deque([header()])
        self.steps: Callable[[bytes], None] = self._steps.append
        queues: list[deque[msgspec.Struct]] = [deque() for _ in self._files]
        self._queues = queues
        self.sample: Callable[[SampleRecord], None] = queues[0].append
        self.event: Callable[[EventRecord], None] = queues[1].append
        self.telemetry: Callable[[TelemetryLine], None] = queues[2].append
        self._status_path = folder.status
        self._status: deque[RunStatus] = deque(maxlen=1)
        self.status: Callable[[RunStatus], None] = self._status.append
        """Replaces what `status.json` contains."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Write the queued records and close the files; safe to call twice.

        Records that cannot be written in time are lost, and `failure` is set.
        """
        self._stop.set()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            self.failure = self.failure or TimeoutError(
                f"the last records were not written within {_CLOSE_S:g} s"
            )

    def _run(self) -> None:
        encoder = msgspec.json.Encoder()
        try:
            while not self._stop.wait(_FLUSH_S):
                self._drain(encoder)
            self._drain(encoder)
        except Exception as error:  # noqa: BLE001  (whatever it was, the run must hear)
            self.failure = error
        finally:
            for file in (*self._files, self._steps_file):
                if file is None:
                    continue
                try:
                    file.close()
                except OSError as error:
                    self.failure = self.failure or error

    def _drain(self, encoder: msgspec.json.Encoder) -> None:
        for file, queue in zip(self._files, self._queues, strict=True):
            while queue:
                count = min(len(queue), _LINES_AT_ONCE)
                lines = [queue.popleft() for _ in range(count)]
                file.write(encoder.encode_lines(lines))
            file.flush()
        if self._steps_file is not None:
            while self._steps:
                self._steps_file.write(self._steps.popleft())
            self._steps_file.flush()
        if self._status:
            write_text(self._status_path, encoder.encode(self._status.pop()).decode())
