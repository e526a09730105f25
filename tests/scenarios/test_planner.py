from pathlib import Path

import pytest

from base.errors import UserError
from conf.load import load_config
from scenarios import plan
from scenarios.plan import ScenarioPlan
from scenarios.planner import plan_scenario


def _plan(*overrides: str, samples: int = 64) -> ScenarioPlan:
    return plan_scenario(load_config(list(overrides)), samples)


@pytest.mark.parametrize(
    ("overrides", "model", "scenario", "streaming"),
    [
        (["scenario=offline"], "llama3_1-8b", "Offline", False),
        (["scenario=server"], "llama3_1-8b", "Server", True),
        (["scenario=interactive"], "llama3_1-8b-interactive", "Server", True),
        (["scenario=singlestream"], "llama3_1-8b-edge", "SingleStream", True),
        (["benchmark=edge"], "llama3_1-8b-edge", "Offline", False),
    ],
)
def test_names_that_loadgen_knows(
    overrides: list[str], model: str, scenario: str, streaming: bool
) -> None:
    plan = _plan(*overrides)
    assert (plan.loadgen_model, plan.loadgen_scenario) == (model, scenario)
    assert plan.streaming is streaming


def test_smoke_is_short_and_says_so() -> None:
    plan = _plan("scenario=server", samples=64)
    assert plan.relaxations["min_query_count"] == 64
    assert plan.relaxations["server_target_latency_percentile"] == 0.9
    assert plan.relaxations["sample_concatenate_permutation"] is False
    assert "max_query_count" not in plan.relaxations
    assert plan.expected_samples(64) == 64


def test_target_qps_goes_into_user_conf() -> None:
    assert (
        "llama3_1-8b.Server.target_qps = 7.5"
        in _plan("scenario=server", "scenario.target_qps=7.5").user_conf
    )
    assert (
        "llama3_1-8b-edge.SingleStream.target_latency = 250"
        in _plan("scenario=singlestream", "scenario.expected_latency_ms=250").user_conf
    )


def test_a_rate_may_come_from_the_users_own_user_conf(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text("# target_qps = 5\n")
    plan = _plan("scenario=server", f"run.user_conf={path}")
    assert plan.relaxations["server_target_qps"] == 1.0
    path.write_text("*.Server.target_qps = 5\n")
    plan = _plan("scenario=server", f"run.user_conf={path}")
    assert "server_target_qps" not in plan.relaxations


def test_a_rate_for_another_scenario_is_none(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_text("llama3_1-8b.Offline.target_qps = 450\n")
    server = ["scenario=server", f"run.user_conf={path}"]
    with pytest.raises(UserError, match=r"needs scenario\.target_qps") as caught:
        _plan("run=full", *server, samples=13_368)
    assert "line 1 (llama3_1-8b.Offline.target_qps), not for" in str(caught.value)
    smoke = _plan(*server)
    assert smoke.relaxations["server_target_qps"] == 1.0
    assert [note for note in smoke.notes if "line 1 (llama3_1-8b.Offline" in note]
    assert _plan(f"run.user_conf={path}").notes == []
    path.write_text("llama3_1-8b.SingleStream.target_latency = 5\n")
    assert _plan("scenario=singlestream", f"run.user_conf={path}").needs_latency


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# MLPerf\n\nSome text\n", r"user\.conf, line 3 \('Some text'\): each line"),
        ("*.Server.target_qps=5\n", "line 1 .*spaces around the ="),
        ("llama3.1-8b.Server.target_qps = 5\n", "line 1 .*MODEL.SCENARIO.KEY"),
        ("*.Server.target_qps = 5 # fast\n", "line 1 .*each line must be"),
        ("*.server.target_qps = 5\n", "no scenario 'server'"),
    ],
)
def test_lines_that_loadgen_passes_over_are_named(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "user.conf"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        _plan(f"run.user_conf={path}")


@pytest.mark.parametrize(
    "overrides",
    [
        ["run.min_queries=10000000"],
        ["scenario=server", "run.min_queries=10000000"],
        ["scenario=server", "run.min_duration_s=100000", "scenario.target_qps=100"],
        ["run.min_duration_s=100000", "scenario.target_qps=100"],
        [
            *("scenario=singlestream", "run.min_duration_s=1000"),
            "scenario.expected_latency_ms=0.01",
        ],
    ],
)
def test_more_queries_than_memory_holds_are_refused(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "available_bytes", lambda: 4 * 2**30)
    with pytest.raises(UserError, match=r"queries need .* GiB of memory, and 4\.0"):
        _plan(*overrides)
    monkeypatch.setattr(plan, "available_bytes", lambda: 2**40)
    _plan(*overrides)
    monkeypatch.setattr(plan, "available_bytes", lambda: None)
    _plan(*overrides)


def test_singlestream_is_measured_unless_given() -> None:
    assert _plan("scenario=singlestream").needs_latency
    message = _plan("scenario=singlestream", "scenario.expected_latency_ms=250")
    assert not message.needs_latency
    assert not _plan("scenario=offline").needs_latency


def test_an_order_without_effect_is_noted() -> None:
    longest = "cluster.longest_first=true"
    assert _plan(longest).notes == []
    [note] = _plan(longest, "scenario=server").notes
    assert "scenario=server keeps the order of arrival" in note


def test_full_relaxes_nothing() -> None:
    plan = _plan("run=full", "scenario.target_qps=20", samples=13_368)
    assert plan.relaxations == {}
    assert plan.expected_samples(13_368) is None


def test_only_compliance_has_an_audit_file() -> None:
    assert _plan().audit_conf is None
    audit = _plan("mode=compliance").audit_conf
    assert audit is not None
    assert "accuracy_log_sampling_target = 100" in audit


@pytest.mark.parametrize(
    ("overrides", "samples", "message"),
    [
        (["scenario=server", "benchmark=edge"], 64, "edge, which has offline"),
        (
            ["scenario=singlestream", "benchmark=datacenter"],
            64,
            "datacenter, which has",
        ),
        (["run=full", "scenario=server"], 13_368, "needs scenario.target_qps"),
        (["run=full", "scenario.target_qps=1"], 64, "needs the data set of 13368"),
        (["run=full"], 13_368, "needs scenario.target_qps"),
        (["run=full", "run.min_queries=5"], 13_368, "run.min_queries relaxes"),
        (
            [
                "run=full",
                "scenario.target_qps=1",
                "engine.options.enable_prefix_caching=true",
            ],
            13_368,
            "no caching across queries",
        ),
        (
            ["run.user_conf=/none/user.conf"],
            64,
            "run.user_conf=/none/user.conf: No such",
        ),
        (["mode=compliance", "run.audit_conf=/none"], 64, "run.audit_conf=/none"),
    ],
)
def test_what_cannot_be_is_refused(
    overrides: list[str], samples: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _plan(*overrides, samples=samples)


def test_binary_user_conf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        _plan(f"run.user_conf={path}")
