"""Checkpoints of four families on the real vLLM, from articles to the report."""

import json
from pathlib import Path

import pytest

from qsl.prepare import main as prepare
from tests.integration.command import run
from tests.tiny_checkpoints import (
    ARCHITECTURES,
    FAMILIES,
    VOCABULARY,
    write_checkpoint,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]
ROWS = 8


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_from_articles_to_the_report(family: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(family, tmp_path / f"tiny-{family}")
    source, data = tmp_path / "rows.jsonl", tmp_path / "own.json"
    rows = [
        {"question": f"What is {number} plus {number}?", "answer": f"{2 * number}"}
        for number in range(ROWS)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--text-column", "question", "--reference-column", "answer"]
    options += ["--chat-template", "--prompt", "{input}", "--output-tokens", "4-24"]
    assert prepare([str(source), str(checkpoint), str(data), *options]) == 0
    done = run(
        tmp_path / "runs",
        *("model=custom", f"model.path={checkpoint}"),
        *("dataset=custom", f"dataset.path={data}", "engine.warmup_requests=1"),
        timeout_s=600,
    )
    assert done.code == 0, done.err
    wanted = {
        number: row["output_tokens"]
        for number, row in enumerate(json.loads(data.read_text()))
    }
    lengths = {sample.qsl_index: sample.output_tokens for sample in done.samples}
    assert lengths == wanted
    [replica] = done.replicas
    assert replica.model["architecture"] == ARCHITECTURES[family]
    assert replica.model["vocab_size"] == VOCABULARY
    report = json.loads((done.folder / "report.json").read_text())
    text = json.dumps(report["configuration"])
    assert f"tiny-{family}" in text
    assert not done.verdict.submission_candidate
