from pathlib import Path

import pytest

from base.errors import UserError
from conf.load import load_config
from record.folder import RunFolder
from scenarios.plan import ScenarioPlan
from scenarios.planner import plan_scenario
from scenarios.settings import build_settings, ineffective_lines

FULL = ["run=full", "scenario=server", "scenario.target_qps=5"]


def _plan(path: Path, text: str, *overrides: str) -> ScenarioPlan:
    path.write_text(text)
    config = load_config([f"run.user_conf={path}", *overrides])
    return plan_scenario(config, 13_368)


def _idle(path: Path, text: str, *overrides: str) -> list[int]:
    return [line.number for line in ineffective_lines(_plan(path, text, *overrides))]


def test_the_packages_own_user_conf_has_an_effect() -> None:
    for scenario in ("offline", "server", "interactive", "singlestream"):
        plan = plan_scenario(load_config([f"scenario={scenario}"]), 64)
        assert ineffective_lines(plan) == []


def test_loadgen_tells_which_lines_have_no_effect(tmp_path: Path) -> None:
    path = tmp_path / "user.conf"
    server = "scenario=server"
    assert _idle(path, "*.Server.target_qps = 5\n", server) == []
    assert _idle(path, "*.Server.min_duration = 600000\n", server) == []
    assert _idle(path, "*.*.use_token_latencies = 1\n", server) == []
    assert _idle(path, "*.Server.target_qsp = 5\n*.*.x = 1\n", server) == [1, 2]
    twice = "*.Server.target_qps = 5\nllama3_1-8b.Server.target_qps = 6\n"
    assert _idle(path, twice, server) == [1]
    assert _idle(path, twice, server, "scenario.target_qps=7") == []
    assert _idle(path, "*.Offline.x = 5\nresnet50.Server.x = 1\n", server) == []
    assert _idle(path, "*.*.qsl_rng_seed = 5\n", server) == [1]


def test_full_refuses_a_line_without_effect(tmp_path: Path) -> None:
    path, folder = tmp_path / "user.conf", RunFolder(tmp_path)
    plan = _plan(path, "# ours\n*.Server.target_qsp = 5\n", *FULL)
    with pytest.raises(UserError, match=r"user\.conf, line 2: .*qsp has no effect"):
        build_settings(plan, folder)


def test_smoke_notes_a_line_without_effect(tmp_path: Path) -> None:
    path, folder = tmp_path / "user.conf", RunFolder(tmp_path)
    plan = _plan(path, "*.Offline.target_qsp = 5\n")
    build_settings(plan, folder)
    assert len(plan.notes) == 1
    assert "line 1: *.Offline.target_qsp has no effect" in plan.notes[0]


def test_a_bad_value_is_named_in_the_users_own_file(tmp_path: Path) -> None:
    path, folder = tmp_path / "own.conf", RunFolder(tmp_path)
    plan = _plan(path, "*.Offline.min_query_count = 5\n*.*.min_duration = soon\n")
    with pytest.raises(
        UserError, match=r"own\.conf, line 2: LoadGen refuses it: .*soon"
    ):
        build_settings(plan, folder)
