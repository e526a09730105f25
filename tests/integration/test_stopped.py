"""A campaign stops a run early: its outcome is `stopped`, and nothing is lost."""

from pathlib import Path

import pytest

from base.child import Children, module_command, module_environment
from base.errors import ExitCode
from record.folder import RunFolder, read_json, read_lines
from record.steps import read_steps
from record.structs import ReplicaRecord, SampleRecord, Verdict
from report.reading.folder import read_run

pytestmark = pytest.mark.integration


def test_a_run_that_is_stopped_early(tmp_path: Path) -> None:
    command = module_command(
        "sut.main",
        "scenario=server",
        "scenario.target_qps=200",
        "run.min_queries=20000",
        "engine=synthetic",
        "engine.step_s=0.01",
        "engine.max_num_seqs=8",
        "dataset=synthetic",
        "dataset.count=64",
        "run.live=plain",
        f"run.dir={tmp_path}",
    )

    def hopeless(folder: Path) -> bool:
        samples = RunFolder(folder).samples
        return samples.exists() and samples.stat().st_size > 0

    with Children() as children:
        ended = children.run(command, module_environment(), hopeless)
    assert ended.code == ExitCode.NOT_GOOD
    assert ended.folder is not None
    folder = RunFolder(ended.folder)
    verdict = read_json(folder.verdict, Verdict)
    assert verdict.outcome == "stopped"
    assert not verdict.degraded
    assert not verdict.submission_candidate
    samples: list[SampleRecord] = list(read_lines(folder.samples, SampleRecord))
    kinds = {sample.status for sample in samples}
    assert kinds == {"completed", "unfinished"}
    assert len(read_steps(folder.steps)) > 50
    assert read_json(folder.replicas, list[ReplicaRecord])
    run = read_run(folder.path)
    assert len(run.lost) == 0
    assert len(run.done) == sum(sample.status == "completed" for sample in samples)
