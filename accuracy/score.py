"""Scores a run folder in accuracy mode."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accuracy.answers import FirstAnswers, decode, read_first_answers
from accuracy.replicas import scores_by_replica
from accuracy.results import AccuracyResult, write_result
from accuracy.rouge import METRICS, PairScores, score_pairs, sentence_splitter
from accuracy.statistics import ConfidenceInterval, mean_intervals, token_statistics
from accuracy.targets import TARGETS, missed_targets, why_no_target
from base.errors import UserError
from conf.load import load_config
from qsl.dataset import Dataset, load_dataset
from record.folder import RunFolder, read_json, write_json
from record.structs import Check, SettingsRecord, Verdict

_SCORED, _TARGET = "accuracy_scored", "accuracy_target"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOverrides:
    """Where the files of a run are now, if they were moved since the run."""

    dataset: Path | None = None
    """The data set's file."""
    tokenizer: Path | None = None
    """The folder with the model's tokenizer.json."""


@dataclass(slots=True, kw_only=True)
class ScoredRun:
    """A run's answers and their scores, sample by sample."""

    folder: RunFolder
    settings: SettingsRecord
    dataset: Dataset
    tokenizer: Path
    answers: FirstAnswers
    scores: PairScores
    """In the order of `answers.first`."""


def score_run(
    folder: RunFolder, overrides: PathOverrides | None = None
) -> AccuracyResult:
    """Score the accuracy log of `folder`; write accuracy.json and accuracy.txt.

    Raises:
        UserError: the run was not in accuracy mode, its answers are not text, or its
            data set or tokenizer does not exist.
        RecordError: a file of the folder is missing or damaged.
        OSError: the folder cannot be written.
    """
    run = score_samples(folder, overrides or PathOverrides())
    result = _result(run)
    write_result(folder, result)
    return result


def leave_unscored(verdict: Verdict, why: str) -> None:
    """Record in `verdict` that the run has no score; replaces an earlier score."""
    check = Check(name=_SCORED, limit=True, value=False, outcome="failed", note=why)
    verdict.replace((_SCORED, _TARGET), [check])


def judge_accuracy(verdict: Verdict, result: AccuracyResult) -> None:
    """Record `result` in `verdict`; replaces an earlier score.

    The score of a faulty log counts as none, since answers may be missing.
    """
    if result.problems:
        leave_unscored(verdict, "; ".join(result.problems))
        return
    target = Check(
        name=_TARGET,
        limit=True,
        value=not result.missed,
        outcome="failed" if result.missed else "passed",
        note="; ".join(result.missed),
    )
    verdict.replace((_SCORED, _TARGET), [target] if result.target_applies else [])


def score_again(
    folder: RunFolder, overrides: PathOverrides
) -> tuple[AccuracyResult, Verdict | None]:
    """Score a finished run and record the result in its verdict.

    Returns:
        The scores and the verdict; None if the run was killed before it was judged.

    Raises:
        UserError, RecordError, OSError: as `score_run`; the verdict is damaged or
            cannot be written.
    """
    result = score_run(folder, overrides)
    if not folder.verdict.exists():
        return result, None
    verdict = read_json(folder.verdict, Verdict)
    judge_accuracy(verdict, result)
    write_json(folder.verdict, verdict)
    return result, verdict


def score_samples(folder: RunFolder, overrides: PathOverrides) -> ScoredRun:
    """Return the scores of the accuracy log of `folder`, sample by sample.

    Raises:
        UserError, RecordError: as `score_run`.
    """
    if not folder.path.is_dir():
        raise UserError(f"{folder.path}: no such run folder")
    if not folder.settings.exists():
        raise UserError(
            f"{folder.path}: not a run folder: it has no {folder.settings.name}; name"
            " one, e.g. runs/latest"
        )
    settings = read_json(folder.settings, SettingsRecord)
    if settings.mode != "accuracy":
        raise UserError(f"{folder.path}: mode={settings.mode} has no accuracy to score")
    dataset = _dataset(folder, overrides)
    tokenizer = _tokenizer(settings, overrides)
    if tokenizer is None or not dataset.references:
        why = "tokens or data are synthetic, so there is no text to score"
        if tokenizer is not None and dataset.sha256:
            why = f"the data set {dataset.name} has no references"
        raise UserError(f"{folder.path}: {why}")
    answers = read_first_answers(folder, dataset)
    if settings.dataset_sha256 not in (None, dataset.sha256):
        answers.problems.append(
            f"{dataset.name}: not the file that the run used: its SHA-256 differs"
        )
    texts = decode(answers.first, tokenizer, folder.accuracy_log)
    wanted = [dataset.references[answer.qsl_index] for answer in answers.first]
    return ScoredRun(
        folder=folder,
        settings=settings,
        dataset=dataset,
        tokenizer=tokenizer,
        answers=answers,
        scores=score_pairs(texts, wanted),
    )


def _dataset(folder: RunFolder, overrides: PathOverrides) -> Dataset:
    config = load_config([], folder.config).dataset
    if overrides.dataset is not None:
        config.path = str(overrides.dataset)
    elif config.path is not None and not Path(config.path).exists():
        raise UserError(
            f"{config.path}: the run's data set is no longer here; name it with"
            " --dataset"
        )
    return load_dataset(config)


def _tokenizer(settings: SettingsRecord, overrides: PathOverrides) -> Path | None:
    if overrides.tokenizer is not None:
        return overrides.tokenizer / "tokenizer.json"
    return None if settings.tokenizer is None else Path(settings.tokenizer)


def _result(run: ScoredRun) -> AccuracyResult:
    settings, answers = run.settings, run.answers
    scores = run.scores.percent()
    tokens = token_statistics(answers, settings.stop_token_ids, settings.streaming)
    gen_len = int(run.scores.characters.sum())
    no_target = why_no_target(settings, len(answers.first))
    splitter = sentence_splitter()
    intervals = _intervals(run.scores.fmeasures, tokens.lengths)
    replicas, odd = scores_by_replica(answers, run.scores.fmeasures)
    return AccuracyResult(
        scores=scores,
        intervals={name: intervals[name] for name in METRICS},
        gen_len=gen_len,
        gen_num=len(answers.first),
        tokens=tokens,
        tokens_interval=intervals["tokens"],
        missed=[]
        if no_target
        else missed_targets(scores, gen_len, TARGETS[settings.benchmark]),
        no_target=no_target,
        problems=answers.problems,
        replicas=replicas,
        odd_replicas=odd,
        splitter=splitter.name,
        official_splitter=splitter.is_official,
    )


def _intervals(
    fmeasures: NDArray[np.float64], lengths: NDArray[np.int64]
) -> dict[str, ConfidenceInterval | None]:
    table = np.column_stack([fmeasures * 100, lengths])
    return dict(zip((*METRICS, "tokens"), mean_intervals(table), strict=True))
