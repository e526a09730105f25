import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from base.benchmark import ScenarioName
from base.child import Children
from base.errors import NotGood, UserError
from conf.schema import Mode
from record.folder import RunFolder
from submission import make
from submission import runs as submission_runs
from submission.make import make_all, show_plan
from submission.plan import plan_runs, sizing
from submission.request import Request, read_request
from tests.submission.requests import OPTIONS, RATE, write_request
from tests.submission.trees import Tree, as_runs, edit_json, unpack

pytestmark = pytest.mark.integration
SERVER = {"scenarios": ["server"], "scenario_options": {"server": RATE["server"]}}


@pytest.fixture(scope="module")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return unpack(tmp_path_factory.mktemp("tree"), source=False)


class Runs:
    """Stands for the processes that make runs: lays the fixture's runs out."""

    def __init__(self, tree: Tree, into: Path) -> None:
        self.made: list[str] = []
        self._kept = into.parent / "kept"
        as_runs(tree, self._kept)

    def __call__(
        self, children: Children, title: str, options: list[str], runs: Path
    ) -> RunFolder:
        self.made.append(title)
        scenario, mode = title.lower().split()
        name = f"20260101T000000Z-{scenario}-{mode}"
        return RunFolder(shutil.copytree(self._kept / name, runs / name))


@pytest.fixture
def runs(fixture: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs(fixture, tmp_path / "work")
    monkeypatch.setattr(make, "make_run", made)
    # Synthetic runs stand for real ones here.
    monkeypatch.setattr(make, "require_buildable", lambda *_: None)
    return made


def shown(action: object, request: Request) -> str:
    text = io.StringIO()
    action(request, Console(file=text, soft_wrap=True))  # type: ignore[operator]
    return text.getvalue()


def test_runs_are_made_once(tmp_path: Path, runs: Runs) -> None:
    request = read_request(write_request(tmp_path, **SERVER))
    plan = shown(show_plan, request)
    assert plan.count("to be made") == 3
    assert "missing runs: " in plan
    assert "13,368 queries in 602 s" in plan
    shown(make_all, request)
    order = ["Server performance", "Server compliance", "Server accuracy"]
    assert runs.made == order
    shown(make_all, request)
    assert runs.made == order
    assert shown(show_plan, request).count("done:") == 3


def test_only_what_is_missing_is_made(tmp_path: Path, runs: Runs) -> None:
    request = read_request(write_request(tmp_path, **SERVER))
    shown(make_all, request)
    shutil.rmtree(request.runs / "20260101T000000Z-server-compliance")
    shown(make_all, request)
    assert runs.made[3:] == ["Server compliance"]


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("verdict.json", {"degraded": True}, "degraded"),
        ("verdict.json", {"outcome": "failed", "reason": "x is 1"}, "failed: x is 1"),
        ("source.json", {"sut/main.py": "0"}, "other code (sut/main.py)"),
        ("verdict.json", None, "did not finish"),
    ],
)
def test_runs_that_will_not_do_are_refused(
    tmp_path: Path,
    runs: Runs,
    file: str,
    change: dict[str, object] | None,
    words: str,
) -> None:
    request = read_request(write_request(tmp_path, **SERVER))
    shown(make_all, request)
    path = request.runs / "20260101T000000Z-server-performance" / file
    if change is None:
        path.unlink()
    else:
        edit_json(path, lambda value: value.update(change))
    assert words in shown(show_plan, request)


def test_degraded_run_ends_the_series(
    tmp_path: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def degraded(
        children: Children, title: str, options: list[str], folder: Path
    ) -> RunFolder:
        run = runs(children, title, options, folder)
        edit_json(run.verdict, lambda value: value.update(degraded=True))
        return run

    monkeypatch.setattr(make, "make_run", degraded)
    request = read_request(write_request(tmp_path, **SERVER))
    with pytest.raises(NotGood, match="a replica was lost"):
        shown(make_all, request)
    assert runs.made == ["Server performance"]


def test_server_needs_a_rate(tmp_path: Path, runs: Runs) -> None:
    request = read_request(
        write_request(tmp_path, scenarios=["server"], scenario_options={})
    )
    with pytest.raises(UserError, match=r"scenario_options\.server: needs"):
        shown(make_all, request)
    assert "after a probe" in shown(show_plan, request)


def test_wasteful_rate_is_reported(tmp_path: Path, runs: Runs) -> None:
    options = {"server": ["scenario.target_qps=24"]}
    request = read_request(
        write_request(tmp_path, scenarios=["server"], scenario_options=options)
    )
    plan = shown(show_plan, request)
    assert "26,736 queries in 1,103 s" in plan
    assert "22.075 (600 s); 44.099 (600 s)" in plan


def test_probe_sizes_the_offline_runs_and_is_kept(tmp_path: Path) -> None:
    options = [option for option in OPTIONS if not option.startswith("dataset.path")]
    request = read_request(
        write_request(
            tmp_path,
            scenarios=["offline"],
            scenario_options={},
            options=[*options, "engine.step_s=0.001"],
        )
    )
    with Children() as children:
        rate = submission_runs.probe(children, request, ScenarioName.offline)
    assert 10 < rate < 5000
    rates = submission_runs.known_rates(request)
    assert rates == {"offline": rate}
    for run in plan_runs(request, rates):
        assert sizing(run.config)[1] == rate
        if run.config.mode is Mode.performance:
            assert run.expected_s is not None
            assert run.expected_s >= 600
    request.options.append("engine.max_num_seqs=8")
    assert submission_runs.known_rates(request) == {}
