"""The latency limits of a run."""

from typing import Any

import pytest

from record.latency_limits import LatencyLimits, latency_limits
from record.structs import SettingsRecord

EFFECTIVE = {
    "server_target_latency_percentile": 0.97,
    "ttft_latency": 2_000_000_000,
    "tpot_latency": 100_000_000,
}


def _settings(loadgen_scenario: str, effective: dict[str, Any]) -> SettingsRecord:
    return SettingsRecord(
        benchmark="llama3_1-8b",
        scenario=loadgen_scenario.lower(),
        mode="performance",
        kind="full",
        streaming=loadgen_scenario == "Server",
        loadgen_model="llama3_1-8b",
        loadgen_scenario=loadgen_scenario,
        is_benchmark=True,
        stop_token_ids=[],
        tokenizer=None,
        effective=effective,
        rules={},
        relaxed=[],
    )


def test_server_has_the_limits_that_loadgen_used() -> None:
    limits = latency_limits(_settings("Server", EFFECTIVE))
    assert (limits.ttft_ns, limits.tpot_ns) == (2_000_000_000, 100_000_000)
    assert (limits.ttft_s, limits.tpot_s) == (2.0, 0.1)
    assert limits.percentile == 0.97


def test_offline_has_none_even_where_loadgen_reports_some() -> None:
    limits = latency_limits(_settings("Offline", EFFECTIVE))
    assert (limits.ttft_s, limits.tpot_s) == (None, None)


@pytest.mark.parametrize("value", [0, -1, None])
def test_what_is_no_limit_is_none(value: object) -> None:
    effective = dict.fromkeys(EFFECTIVE, value)
    assert latency_limits(_settings("Server", effective)) == LatencyLimits()
