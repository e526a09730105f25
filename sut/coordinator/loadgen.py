"""LoadGen's System Under Test: passes queries on, and answers back to LoadGen."""

import array
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import mlperf_loadgen as lg

from qsl.dataset import Dataset
from qsl.library import query_sample_library
from record.folder import RunFolder
from sut.coordinator.responses import Batch, Responder

_TOKEN_BYTES = 4


class LoadGenResponder(Responder):
    """Passes answers to LoadGen, which copies the tokens before a call returns."""

    def __init__(self) -> None:
        """Prepare; LoadGen takes answers as soon as it has issued their samples."""
        self._firsts: list[lg.QuerySampleResponse] = []
        """Responses for first tokens, which are reused."""

    def first_tokens(self, batch: Batch) -> None:
        """Report the first token (4 bytes) of each answer."""
        buffer, address = _join(batch)
        firsts = self._firsts
        while len(firsts) < len(batch):
            firsts.append(lg.QuerySampleResponse(0, 0, _TOKEN_BYTES))
        # Changing these takes half as long as making them, for every sample.
        for (query_id, _), response in zip(batch, firsts, strict=False):
            response.id = query_id
            response.data = address
            address += _TOKEN_BYTES
        lg.FirstTokenComplete(firsts[: len(batch)])
        del buffer  # LoadGen reads from it until here

    def complete(self, batch: Batch) -> None:
        """Report whole answers."""
        buffer, address = _join(batch)
        responses = []
        for query_id, tokens in batch:
            size = len(tokens)
            responses.append(
                lg.QuerySampleResponse(query_id, address, size, size // _TOKEN_BYTES)
            )
            address += size
        lg.QuerySamplesComplete(responses)
        del buffer  # LoadGen reads from it until here


class LoadGenRun:
    """One LoadGen test in its own thread, since it cannot be interrupted."""

    def __init__(
        self,
        settings: lg.TestSettings,
        dataset: Dataset,
        folder: RunFolder,
        issue: Callable[[Sequence[int], Sequence[int]], None],
        flush: Callable[[], None],
        trace: bool,
    ) -> None:
        """Prepare.

        Args:
            settings: LoadGen's settings.
            dataset: samples of the QSL.
            folder: where LoadGen's logs go.
            issue: takes LoadGen's ids and the indices, in the order of issue.
            flush: called when LoadGen has issued its last query.
            trace: whether LoadGen writes its trace.
        """
        self.error: BaseException | None = None
        """The exception of StartTest; LoadGen cannot be used after it."""
        self._settings = settings
        self._dataset = dataset
        self._folder = folder
        self._issue = issue
        self._flush = flush
        self._trace = trace
        self._thread = threading.Thread(target=self._run, name="loadgen", daemon=True)

    @property
    def mean_gap_s(self) -> float:
        """Mean seconds between scheduled queries; 0 if the scenario has no schedule."""
        rate = float(self._settings.server_target_qps)
        is_server = self._settings.scenario == lg.TestScenario.Server and rate > 0
        return 1 / rate if is_server else 0.0

    def start(self) -> None:
        """Start the test."""
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` seconds; return whether the test has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._start_test()
        except BaseException as error:  # noqa: BLE001  (handed to the main thread)
            self.error = error

    def _start_test(self) -> None:
        output = lg.LogOutputSettings()
        output.outdir = str(self._folder.path)
        output.copy_summary_to_stdout = False
        log = lg.LogSettings()
        log.log_output = output
        log.enable_trace = self._trace
        count = self._settings.performance_sample_count_override
        with query_sample_library(self._dataset, count) as library:
            # The "fast" form hands over plain ids and indices, no object per sample.
            system = lg.ConstructFastSUT(self._issue, self._flush)
            try:
                lg.StartTestWithLogSettings(
                    system, library, self._settings, log, str(self._audit_file())
                )
            finally:
                lg.DestroySUT(system)

    def _audit_file(self) -> Path:
        """Return the audit file; one that does not exist outside compliance mode.

        Left to itself LoadGen takes a stray audit.config of the working directory.
        """
        return self._folder.audit_conf


def _join(batch: Batch) -> tuple["array.array[int]", int]:
    """Return all tokens, concatenated, and their address."""
    buffer = array.array("i", b"".join([tokens for _, tokens in batch]))
    return buffer, buffer.buffer_info()[0]
