"""The files of a run folder, and what reads a whole one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from accuracy.answers import read_first_answers
from accuracy.statistics import token_statistics
from qsl.dataset import Dataset
from record.folder import RecordError, RunFolder, cut_off, read_json, read_lines
from record.loadgen_log import is_closed, read_answers, read_detail, read_trace
from record.steps import STEP, header, read_steps
from record.structs import EventRecord, ReplicaRecord, SettingsRecord, Verdict
from report.content import make_report
from report.reading.config import read_config
from report.reading.folder import read_run
from report.reading.samples import read_samples
from report.reading.telemetry import read_telemetry
from scenarios.gate import judge
from submission.documents import verification_text
from tests.fuzz.target import Target, file_target
from tests.run_folder import good_spec, write_folder

_TRACE = b"""{"traceEvents":[
{"name":"Sample","ph":"b","ts":1.5,"args":{"sample_seq":0,"sample_idx":3,\
"issue_start_ns":10,"complete_ns":90}},
{"name":"Token_Latency","ph":"b","ts":1.5,"args":{ "issue_delay":1,\
"issue_to_done":20}},
{"name":"Sample","ph":"b","ts":2.5,"args":{"sample_seq":1,"sample_idx":4,\
"issue_start_ns":-1,"complete_ns":95}},
]}
"""


def run_folder_targets(folder: Path) -> list[Target]:
    made = good_spec(6)
    made.answers = [(n, [1, 2, n], [1]) for n in range(6)]
    made.events = [
        EventRecord(t_ns=1, kind="fence", node="n1", replica=0, cause="it broke")
    ]
    run = write_folder(folder / "run", made)
    (run / "mlperf_log_trace.json").write_bytes(_TRACE)
    accuracy = good_spec(6)
    accuracy.mode, accuracy.answers = "accuracy", made.answers
    judged = write_folder(folder / "accuracy", accuracy)

    def read(path: Path) -> Callable[[Path], object]:
        return READERS[path.name]

    readers = [
        file_target(path, read(path), (RecordError,), name=f"{path.name}")
        for path in sorted(run.path.iterdir())
        if path.name in READERS
    ]
    whole = [
        file_target(
            place / name,
            job,
            (RecordError,),
            name=f"{what}, {name}",
            slow=True,
        )
        for what, place, job, names in (
            ("accuracy", judged, _scored, _JUDGED),
            ("gate", judged, lambda path: judge(RunFolder(path.parent)), _JUDGED),
            ("report", run, lambda path: make_report([read_run(path.parent)]), READERS),
        )
        for name in names
    ]
    steps = run / "steps.bin"
    steps.write_bytes(header() + np.zeros(5, STEP).tobytes())
    binary = file_target(
        steps,
        lambda path: read_steps(path).tolist(),
        (RecordError,),
        name="steps.bin",
        binary=True,
    )
    return [*readers, binary, *whole]


def _scored(path: Path) -> None:
    """Do what comes before the texts of answers are scored."""
    folder = RunFolder(path.parent)
    offsets = np.cumsum([0, *(600 + seq for seq in range(6))])
    dataset = Dataset(
        name="sample",
        tokens=np.zeros(offsets[-1], np.int32),
        offsets=offsets,
        references=["text"] * 6,
    )
    settings = read_json(folder.settings, SettingsRecord)
    answers = read_first_answers(folder, dataset)
    token_statistics(answers, settings.stop_token_ids, settings.streaming)
    verification_text(folder.accuracy_log, settings)


READERS: dict[str, Callable[[Path], object]] = {
    "verdict.json": lambda path: read_json(path, Verdict),
    "settings.json": lambda path: read_json(path, SettingsRecord),
    "replicas.json": lambda path: read_json(path, list[ReplicaRecord]),
    "events.jsonl": lambda path: (list(read_lines(path, EventRecord)), cut_off(path)),
    "samples.jsonl": read_samples,
    "telemetry.jsonl": read_telemetry,
    "config.yaml": read_config,
    "mlperf_log_detail.txt": read_detail,
    "mlperf_log_accuracy.json": lambda path: (read_answers(path), is_closed(path)),
    "mlperf_log_trace.json": read_trace,
}
"""Files of a run folder, by name."""


_JUDGED = (
    "settings.json",
    "samples.jsonl",
    "events.jsonl",
    "mlperf_log_detail.txt",
    "mlperf_log_accuracy.json",
)
