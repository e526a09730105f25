"""The official tools of mlcommons/inference, run from the user's checkout.

Nothing in the tree is changed: truncation and verification work on copies, and what
they make is compared with the tree.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from accuracy.targets import TARGETS
from base.errors import UserError
from record.structs import Json
from scenarios.rules import rules
from submission.checks import TreeFinding
from submission.checks.loaded import BUILD
from submission.checks.performance import SEEDS
from submission.layout import ResultFolder, SubmitterFolder, submitter_folders

VERSION = "v6.1"
"""The round whose seeds the pinned LoadGen has."""
_CHECKER = Path("tools/submission")
_TRUNCATE = _CHECKER / "truncate_accuracy_log.py"
_VERIFY = Path("compliance/TEST06/run_verification.py")
_EVALUATE = Path("language/llama3.1-8b/evaluation.py")
_ROUND = "--mlperf-inference is for another round than the installed LoadGen"
_DUMP = """
import json
from submission_checker import constants as c
m = c.MODEL_CONFIG[{version!r}]
print(json.dumps([m["seeds"], m["accuracy-target"], m["accuracy-upper-limit"],
                  m["performance-sample-count"], c.TEST_DURATION_MS,
                  c.LLM_LATENCY_LIMITS["llama3.1-8b"]]))
"""
_COMPLAINT = re.compile(r"^\[.* (?:ERROR|WARNING)\] (.*)$", re.M)
_NO_COMPLAINT = re.compile(r"Execution of check \S+ skipped|SUMMARY")
_TIMEOUT_S = 3600
_SCORE = re.compile(r"'(rouge\w+|gen_len|gen_num)': (?:np\.\w+\()?'?([\d.]+)")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A checkout of mlcommons/inference."""

    path: Path
    evaluation_python: str = sys.executable
    """Interpreter that has the packages which the official evaluation imports."""

    def require(self) -> None:
        """Look for the tools.

        Raises:
            UserError: one of them is missing.
        """
        for name in (_CHECKER / "submission_checker", _TRUNCATE, _VERIFY):
            if not (self.path / name).exists():
                raise UserError(
                    f"--mlperf-inference={self.path}: no {name}; give a checkout of"
                    " mlcommons/inference"
                )


def round_findings(checkout: Checkout) -> Iterator[TreeFinding]:
    """Yield where the checker's constants differ from the rules that we check."""
    done = _python(checkout, ["-c", _DUMP.format(version=VERSION)], _CHECKER)
    if done.returncode:
        raise UserError(
            f"--mlperf-inference={checkout.path}: its checker does not know"
            f" {VERSION}: {_last_line(done.stderr)}"
        )
    seeds, targets, limits, counts, shortest_ms, latencies = json.loads(done.stdout)
    pairs: list[tuple[str, Json, Json]] = []
    for name, suite, model in (
        ("llama3.1-8b", "datacenter", "llama3_1-8b"),
        ("llama3.1-8b-edge", "edge", "llama3_1-8b-edge"),
    ):
        ours = rules(model, "Offline")
        target = TARGETS[suite]
        least = dict(zip(targets[name][::2], targets[name][1::2], strict=True))
        for metric, value in target.rouge.items():
            pairs.append((metric, least[metric.upper()], 0.99 * value))
        pairs += [
            ("least gen_len", least["GEN_LEN"], 0.9 * target.gen_len),
            ("largest gen_len", limits[name][1], 1.1 * target.gen_len),
            ("samples", counts[name], ours["performance_sample_count_override"]),
            ("min_duration", shortest_ms, ours["min_duration_ms"]),
            *((seed, seeds[seed], ours[seed]) for seed in SEEDS),
        ]
    for scenario, model in (
        ("Server", "llama3_1-8b"),
        ("Interactive", "llama3_1-8b-interactive"),
    ):
        ours = rules(model, "Server")
        for limit in ("ttft", "tpot"):
            theirs = latencies[scenario][limit]
            pairs.append((f"{scenario} {limit}", theirs, ours[f"{limit}_latency"]))
    for name, theirs, own in pairs:
        if abs(theirs - own) > 1e-9 * abs(own):
            yield TreeFinding(
                check="round",
                path=checkout.path / _CHECKER,
                problem=f"{name} is {theirs}, but {own} here",
                remedy=_ROUND,
            )


def checker_findings(
    checkout: Checkout, tree: Path, scratch: Path
) -> list[TreeFinding]:
    """Run the official checker over `tree`; return its complaints.

    Args:
        checkout: where the checker is.
        tree: root of the tree.
        scratch: an empty folder for what the checker writes.
    """
    command = ["-m", "submission_checker.main", "--input", str(tree.resolve())]
    command += ["--version", VERSION, "--csv", str(scratch / "summary.csv")]
    done = _python(checkout, command, _CHECKER)
    (scratch / "checker.log").write_text(done.stdout + done.stderr)
    if done.returncode == 0:
        return []
    text = (done.stdout + done.stderr).replace(f"{tree.resolve()}/", "")
    said = [x for x in _COMPLAINT.findall(text) if not _NO_COMPLAINT.match(x)]
    # A traceback leaves no complaint behind, only its last line.
    lines = said or [_last_line(done.stderr)]
    return [
        TreeFinding(
            check="official_checker",
            path=tree,
            problem=line,
            remedy="this package's own checks of the same file state the fix",
        )
        for line in lines
    ]


def has_compliance(tree: Path) -> bool:
    """Whether a result of the tree has TEST06 answers."""
    return any(result.compliance_answers.exists() for _, result in _results(tree))


def verification_findings(
    checkout: Checkout, tree: Path, scratch: Path
) -> Iterator[TreeFinding]:
    """Yield where the official TEST06 script finds another result than the tree has."""
    for number, (_, result) in enumerate(_results(tree)):
        if not result.compliance_answers.exists():
            continue
        output = scratch / f"verification-{number}"
        output.mkdir()
        command = [str(checkout.path.resolve() / _VERIFY)]
        command += ["-c", str(result.compliance_answers.parent.resolve())]
        command += ["-o", str(output), "-s", result.scenario]
        done = _python(checkout, command, Path())
        made = output / "TEST06" / "verify_accuracy.txt"
        if done.returncode or not made.exists():
            problem = f"run_verification.py: {_last_line(done.stderr)}"
        elif made.read_text() != result.verification.read_text():
            problem = f"run_verification.py says {made.read_text()!r}"
        else:
            continue
        yield TreeFinding(
            check="official_verification",
            path=result.verification,
            problem=problem,
            remedy=BUILD,
        )


def truncation_findings(
    checkout: Checkout, tree: Path, logs: dict[Path, Path], scratch: Path
) -> Iterator[TreeFinding]:
    """Yield where the official truncation of the whole log differs from the tree's.

    Args:
        checkout: where the tool is.
        tree: root of the tree.
        logs: LoadGen's whole accuracy log by the folder of the result.
        scratch: an empty folder.
    """
    copy = scratch / "truncation"
    for home, result in _results(tree):
        if result.path not in logs:
            continue
        target = ResultFolder(copy / result.path.relative_to(tree))
        target.accuracy.path.mkdir(parents=True)
        shutil.copy(logs[result.path], target.accuracy.accuracy_log)
        text = result.scores.read_text()
        target.scores.write_text(text.partition("\nhash=")[0].rstrip() + "\n")
        command = [str(checkout.path.resolve() / _TRUNCATE), "--input", str(copy)]
        command += ["--submitter", home.submitter]
        command += ["--backup", str(scratch / "backup")]
        done = _python(checkout, command, Path())
        log = target.accuracy.accuracy_log
        if done.returncode:
            problem = f"truncate_accuracy_log.py: {_last_line(done.stderr)}"
        elif log.read_bytes() != result.accuracy.accuracy_log.read_bytes():
            problem = "is not the truncated log of the accuracy run"
        elif target.scores.read_text() != text:
            problem = "its hash is not that of the accuracy run's whole log"
        else:
            continue
        yield TreeFinding(
            check="official_truncation",
            path=result.accuracy.accuracy_log,
            problem=problem,
            remedy=BUILD,
        )


def evaluation_findings(
    checkout: Checkout, scores: Path, log: Path, data_set: Path, tokenizer: Path
) -> Iterator[TreeFinding]:
    """Yield scores of the benchmark's script that differ from accuracy.txt.

    Args:
        checkout: where the script is.
        scores: accuracy.txt.
        log: LoadGen's whole accuracy log.
        data_set: the file in cnn_eval.json form.
        tokenizer: folder of the model's tokenizer.
    """
    ours = _scores(scores.read_text())
    command = ["evaluation.py", "--mlperf-accuracy-file", str(log.resolve())]
    command += ["--dataset-file", str(data_set.resolve()), "--dtype", "int32"]
    command += ["--model-name", str(tokenizer.resolve())]
    command += ["--total-sample-count", str(int(ours["gen_num"]))]
    done = _python(checkout, command, _EVALUATE.parent, checkout.evaluation_python)
    if done.returncode:
        problem = f"evaluation.py failed: {_last_line(done.stderr)}"
    else:
        theirs = _scores(done.stdout)
        other = [name for name in ours if ours[name] != theirs.get(name)]
        if not other:
            return
        problem = "evaluation.py has " + ", ".join(
            f"{name} {theirs.get(name)}" for name in other
        )
    yield TreeFinding(
        check="official_evaluation",
        path=scores,
        problem=problem,
        remedy="docs/accuracy.md lists what the script needs; name an interpreter that"
        " has it with --evaluation-python",
    )


def _scores(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in _SCORE.findall(text)}


def _results(tree: Path) -> list[tuple[SubmitterFolder, ResultFolder]]:
    return [
        (home, result) for home in submitter_folders(tree) for result in home.results()
    ]


def _python(
    checkout: Checkout,
    command: list[str],
    folder: Path,
    interpreter: str = sys.executable,
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [interpreter, *command],
        cwd=checkout.path / folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
