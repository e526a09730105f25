"""The naive shape beside the harness: a thread per query, multiprocessing.Queue.

    python -m benchmarks.naive_sut FOLDER offline|server QPS SAMPLES

Two worker processes answer at once. Prompts are pickled into one shared queue, answers
come back through another, and each query's thread waits for its own answer.
"""

import array
import json
import multiprocessing
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mlperf_loadgen as lg

from conf.schema import DatasetConfig
from qsl.dataset import load_dataset
from sut.engines.synthetic import synthetic_answer

WORKERS = 2
TOKENS = 2


def work(
    requests: "multiprocessing.Queue[Any]", answers: "multiprocessing.Queue[Any]"
) -> None:
    """Answer requests for ever."""
    while True:
        query_id, prompt = requests.get()
        answers.put((query_id, synthetic_answer(prompt, TOKENS)))


class NaiveSut:
    """A thread for each query, which hands it over and waits."""

    def __init__(self, prompts: list[bytes]) -> None:
        """Start the workers."""
        self._prompts = prompts
        self._requests: multiprocessing.Queue[Any] = multiprocessing.Queue()
        self._answers: multiprocessing.Queue[Any] = multiprocessing.Queue()
        self._waiting: dict[int, threading.Event] = {}
        self._done: dict[int, bytes] = {}
        for _ in range(WORKERS):
            multiprocessing.Process(
                target=work, args=(self._requests, self._answers), daemon=True
            ).start()
        threading.Thread(target=self._collect, daemon=True).start()

    def issue(self, samples: list[lg.QuerySample]) -> None:
        """Start a thread per sample."""
        for sample in samples:
            self._waiting[sample.id] = threading.Event()
            threading.Thread(
                target=self._answer, args=(sample.id, sample.index), daemon=True
            ).start()

    def _answer(self, query_id: int, index: int) -> None:
        self._requests.put((query_id, self._prompts[index]))
        self._waiting[query_id].wait()
        del self._waiting[query_id]
        tokens = array.array("i", self._done.pop(query_id))
        address, count = tokens.buffer_info()
        lg.FirstTokenComplete([lg.QuerySampleResponse(query_id, address, 4)])
        lg.QuerySamplesComplete(
            [lg.QuerySampleResponse(query_id, address, 4 * count, count)]
        )

    def _collect(self) -> None:
        while True:
            query_id, tokens = self._answers.get()
            self._done[query_id] = tokens
            self._waiting[query_id].set()


def main() -> None:
    """Run one LoadGen test."""
    work_dir, scenario, qps, samples = sys.argv[1:]
    folder = Path(work_dir) / "latest"
    folder.mkdir()
    dataset = load_dataset(DatasetConfig(name="synthetic", count=13_368))
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario.capitalize())
    settings.mode = lg.TestMode.PerformanceOnly
    settings.use_token_latencies = True
    settings.server_target_qps = settings.offline_expected_qps = float(qps)
    settings.server_target_latency_percentile = 0.99
    settings.ttft_latency = settings.tpot_latency = 10**12
    settings.min_query_count = int(samples)
    settings.min_duration_ms = 0
    if scenario == "offline":
        settings.offline_expected_qps = 1.0
    sut = NaiveSut([dataset.prompt(i).tobytes() for i in range(len(dataset))])
    output = lg.LogOutputSettings()
    output.outdir = str(folder)
    log = lg.LogSettings()
    log.log_output = output
    log.enable_trace = False
    system = lg.ConstructSUT(sut.issue, lambda: None)
    library = lg.ConstructQSL(
        len(dataset), len(dataset), lambda _: None, lambda _: None
    )
    begin = time.time()
    lg.StartTestWithLogSettings(system, library, settings, log, str(folder / "none"))
    (folder / "span.json").write_text(json.dumps([begin, time.time()]))


if __name__ == "__main__":
    main()
