"""None"""

from pathlib import Path

import pytest

from conf.load import load_config
from record.folder import read_json
from record.structs import SettingsRecord
from submission.documents import known_weight_type, measurements, verification_text
from submission.request import WeightFacts
from tests.submission.damage import DAMAGES
from tests.submission.trees import unpack


@pytest.mark.parametrize(
    ("options", "message", "known", "said"),
    [
        (["engine.options.quantization=fp8"], "", "fp8", "fp8"),
        ([], "", None, "bfloat16"),
        ([], "fp8", None, "fp8"),
        (["engine=synthetic"], "", *["none: the synthetic engine has no weights"] * 2),
    ],
)
def test_weight_types_are_as_configured_or_given(
    options: list[str], message: str, known: str | None, said: str
) -> None:
    config = load_config(options)
    assert known_weight_type(config) == known
    facts = WeightFacts(
        starting_weights_filename="a",
        weight_transformations="b",
        weight_data_types=message,
    )
    assert measurements(config, facts)["weight_data_types"] == said


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("TEST06: two stop tokens", "EOS check pass: False"),
        (
            "TEST06: another first token than reported",
            "First token check pass: False",
        ),
    ],
)
def test_what_is_wrong_is_reported(tmp_path: Path, what: str, line: str) -> None:
    tree = unpack(tmp_path, source=False)
    next(spoil for spoil in DAMAGES if spoil.what == what).act(tree)
    result = tree.result("Server")
    settings = read_json(result.compliance.settings, SettingsRecord)
    text = verification_text(result.compliance_answers, settings)
    assert line in text.splitlines()
    assert "TEST06 verification failed" in text.splitlines()


def test_first_tokens_are_skipped_where_none_were_reported(tmp_path: Path) -> None:
    result = unpack(tmp_path, source=False).result("Offline")
    settings = read_json(result.compliance.settings, SettingsRecord)
    text = verification_text(result.compliance_answers, settings)
    assert text.splitlines()[0] == "First token check pass: Skipped"
    assert text.splitlines()[-1] == "TEST06 verification complete"
