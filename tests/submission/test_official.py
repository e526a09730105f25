"""The official tools over the fixtures; MLPERF_INFERENCE names a checkout."""

import os
from pathlib import Path

import pytest

from submission.documents import truncated, with_hash
from submission.official import (
    Checkout,
    checker_findings,
    round_findings,
    truncation_findings,
    verification_findings,
)
from tests.submission.table import rows
from tests.submission.trees import Tree, edit, unpack

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def checkout() -> Checkout:
    path = os.environ.get("MLPERF_INFERENCE")
    if not path:
        pytest.skip("MLPERF_INFERENCE names no checkout of mlcommons/inference")
    found = Checkout(Path(path).resolve())
    found.require()
    return found


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir()
    return path


def complaints(checkout: Checkout, tree: Tree, scratch: Path) -> list[str]:
    return [f.problem for f in checker_findings(checkout, tree.root, scratch)]


def test_rules_are_those_of_the_checker(checkout: Checkout) -> None:
    assert list(round_findings(checkout)) == []


@pytest.mark.parametrize("fixture", ["datacenter", "edge"])
def test_open_tree_is_accepted(
    checkout: Checkout, tmp_path: Path, scratch: Path, fixture: str
) -> None:
    tree = unpack(tmp_path / "tree", fixture)
    assert complaints(checkout, tree, scratch) == []
    assert "looks OK" in (scratch / "checker.log").read_text()


def test_closed_tree_lacks_nothing_but_accuracy(
    checkout: Checkout, tmp_path: Path, scratch: Path
) -> None:
    tree = unpack(tmp_path / "tree").close()
    found = complaints(checkout, tree, scratch)
    assert found
    about = ("accuracy not met", "NoResults", "accuracy checks")
    assert [line for line in found if not any(a in line for a in about)] == []


def test_closed_tree_with_made_up_accuracy_is_accepted(
    checkout: Checkout, tmp_path: Path, scratch: Path
) -> None:
    tree = unpack(tmp_path / "tree").close().with_made_up_accuracy()
    assert complaints(checkout, tree, scratch) == []


def test_test06_verification_is_the_official_one(
    checkout: Checkout, tmp_path: Path, scratch: Path
) -> None:
    tree = unpack(tmp_path / "tree")
    assert list(verification_findings(checkout, tree.root, scratch)) == []
    edit(tree.result("Server").verification, "EOS check pass: True", "EOS check: ?")
    again = tmp_path / "again"
    again.mkdir()
    assert len(list(verification_findings(checkout, tree.root, again))) == 1


def test_truncation_is_the_official_one(
    checkout: Checkout, tmp_path: Path, scratch: Path
) -> None:
    tree = unpack(tmp_path / "tree")
    result = tree.result("Offline")
    log = tmp_path / "mlperf_log_accuracy.json"
    log.write_text("[\n" + '{ "seq_id" : 0 },\n' * 20_000 + "]\n")
    scores = result.scores.read_text().partition("\nhash=")[0]
    result.accuracy.accuracy_log.write_bytes(truncated(log.read_bytes()))
    result.scores.write_text(with_hash(scores, log.read_bytes()))
    logs = {result.path: log}
    assert list(truncation_findings(checkout, tree.root, logs, scratch)) == []
    log.write_text(log.read_text().replace("0 }", "1 }", 1))
    again = tmp_path / "again"
    again.mkdir()
    assert len(list(truncation_findings(checkout, tree.root, logs, again))) == 1


@pytest.mark.timeout(900)
def test_documented_table_is_what_the_checker_does(checkout: Checkout) -> None:
    message = (ROOT / "docs" / "submission.md").read_text().splitlines()
    assert [row for row in rows(checkout) if row not in message] == []
