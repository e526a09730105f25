from pathlib import Path

import pytest

from submission.official import Checkout, evaluation_findings

SCORES = (
    "{'rouge1': 38.8, 'rouge2': 15.95, 'rougeL': 24.5, 'rougeLsum': 35.8,"
    " 'gen_len': 8167644, 'gen_num': 13368}\n"
)
AS_NUMPY_2_PRINTS = (
    "{'rouge1': '38.8', 'rouge2': '15.95', 'rougeL': '24.5', 'rougeLsum': '35.8',"
    " 'gen_len': np.int64(8167644), 'gen_num': 13368}"
)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (f"print({AS_NUMPY_2_PRINTS!r})", ""),
        (f"print({AS_NUMPY_2_PRINTS.replace('38.8', '38.7')!r})", "has rouge1 38.7"),
        ("import no_such_package", "failed: ModuleNotFoundError"),
        ("print('nothing')", "has rouge1 None"),
    ],
)
def test_scores_are_held_against_those_of_the_script(
    tmp_path: Path, script: str, problem: str
) -> None:
    """A script of our own stands for the official one, and prints as it does."""
    folder = tmp_path / "language" / "llama3.1-8b"
    folder.mkdir(parents=True)
    (folder / "evaluation.py").write_text(script)
    scores = tmp_path / "accuracy.txt"
    scores.write_text(SCORES)
    found = list(
        evaluation_findings(Checkout(tmp_path), scores, tmp_path, tmp_path, tmp_path)
    )
    if problem:
        assert [problem in finding.problem for finding in found] == [True]
    else:
        assert found == []
