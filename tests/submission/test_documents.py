import pytest

from conf.load import load_config
from submission.documents import known_weight_type, measurements
from submission.request import WeightFacts


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
