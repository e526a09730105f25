from pathlib import Path

import pytest

from submission.checks import TreeFinding, check_tree
from tests.submission.damage import DAMAGES, Damage
from tests.submission.trees import Tree, unpack

ACCEPTED = {"benchmark", "scores_changed"}
"""The findings on the closed fixture: a synthetic engine, made-up scores."""

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return unpack(tmp_path_factory.mktemp("tree")).close().with_made_up_accuracy()


@pytest.fixture(scope="module")
def before(closed: Tree) -> set[TreeFinding]:
    return set(check_tree(closed.root))


@pytest.mark.parametrize("fixture", ["datacenter", "edge"])
def test_open_tree_of_real_runs_is_good(tmp_path: Path, fixture: str) -> None:
    assert check_tree(unpack(tmp_path, fixture).root) == []


@pytest.mark.parametrize("fixture", ["datacenter", "edge"])
def test_closed_tree_of_real_runs_lacks_the_benchmarks_weights(
    tmp_path: Path, fixture: str
) -> None:
    found = check_tree(unpack(tmp_path, fixture).close().root)
    assert {finding.check for finding in found} == {"benchmark", "accuracy_target"}


def test_made_up_scores_reach_targets_but_are_found_out(
    before: set[TreeFinding],
) -> None:
    assert {finding.check for finding in before} == ACCEPTED


def test_there_are_enough_ways_to_spoil_a_tree() -> None:
    assert len({spoil.what for spoil in DAMAGES}) == len(DAMAGES) >= 25


@pytest.mark.parametrize("spoil", DAMAGES, ids=lambda spoil: spoil.what)
def test_spoilt_tree_is_found_out(
    closed: Tree, before: set[TreeFinding], tmp_path: Path, spoil: Damage
) -> None:
    tree = closed.copy(tmp_path / "tree")
    spoil.act(tree)
    new = set(check_tree(tree.root)) - before
    assert spoil.check in {finding.check for finding in new}, new
    assert all(finding.problem and finding.remedy for finding in new)
