import mlperf_loadgen as lg
import pytest

from scenarios.rules import rules
from scenarios.settings import effective


@pytest.mark.parametrize(
    ("model", "scenario"),
    [
        ("llama3_1-8b", "Offline"),
        ("llama3_1-8b", "Server"),
        ("llama3_1-8b-interactive", "Server"),
        ("llama3_1-8b-edge", "Offline"),
        ("llama3_1-8b-edge", "SingleStream"),
    ],
)
def test_mlperf_conf_equals_what_loadgen_has_built_in(
    model: str, scenario: str
) -> None:
    settings = lg.TestSettings()
    # Type 0 reads the built-in rules alone, as often as one likes.
    assert settings.FromConfig("", model, scenario, 0) == 0
    built_in = effective(settings)
    for name, value in rules(model, scenario).items():
        assert built_in[name] == value, name


def test_the_rules_that_matter_are_there() -> None:
    server = rules("llama3_1-8b", "Server")
    assert server["ttft_latency"] == 2_000_000_000
    assert server["tpot_latency"] == 100_000_000
    assert server["server_target_latency_percentile"] == 0.99
    assert rules("llama3_1-8b-interactive", "Server")["tpot_latency"] == 30_000_000
    assert rules("llama3_1-8b", "Offline")["min_query_count"] == 13_368
