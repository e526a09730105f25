"""The measurement of the step model: vLLM's scheduler, a model of known cost."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sut.engines.base import EngineConfigError
from sut.engines.steps import PATH_VARIABLE, StepRing
from sut.wire.messages import AdaptiveSpec, EngineSpec, StepModel
from tests.sut.engines.contract import spec
from tests.sut.engines.vllm_scheduler import (
    BLOCK,
    answer,
    make_config,
    make_scheduler,
)

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]
BLOCKS = 4000
TRUE = StepModel(0.004, 2e-4, 5e-4, 0.0)


class _Engine:
    """Answers at once, after as long as the true model says."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.aborted: list[str] = []

    def add_request(self, name: str, prompt: Any, params: Any) -> None:
        from vllm.v1.request import Request

        self.scheduler.add_request(
            Request(
                request_id=name,
                prompt_token_ids=prompt["prompt_token_ids"],
                sampling_params=params,
                pooling_params=None,
            )
        )

    def abort_request(self, names: list[str]) -> None:
        from vllm.v1.request import RequestStatus

        self.aborted = names
        known = [name for name in names if name in self.scheduler.requests]
        self.scheduler.finish_requests(known, RequestStatus.FINISHED_ABORTED)

    def has_unfinished_requests(self) -> bool:
        return bool(self.scheduler.has_unfinished_requests())

    def step(self) -> list[Any]:
        output = self.scheduler.schedule()
        requests = self.scheduler.requests
        output.inside = {
            name
            for name in output.num_scheduled_tokens
            if requests[name].is_prefill_chunk
        }
        prefill, decoding = self.scheduler._last_counts
        time.sleep(TRUE.step_s + TRUE.prefill_s * prefill + TRUE.decode_s * decoding)
        names = set(output.num_scheduled_tokens) - output.inside
        answer(self.scheduler, output)
        return [SimpleNamespace(request_id=name) for name in names]


def _spec(model: StepModel | None) -> EngineSpec:
    return spec(adaptive=AdaptiveSpec(0.05, model), max_tokens=20)


@pytest.fixture
def config(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> Any:
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "ring"))
    found = make_config(tmp_path_factory.mktemp("model"))
    found.scheduler_config.async_scheduling = False
    found.scheduler_config.scheduler_cls = "sut.engines.step_scheduler.StepScheduler"
    return found


def _scheduler(config: Any) -> Any:
    from vllm.v1.core.sched.scheduler import Scheduler

    kind = config.scheduler_config.get_scheduler_cls()
    return make_scheduler(config, BLOCKS, False, {Scheduler: kind})


def test_the_true_model_is_measured(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sut.engines import adaptation

    monkeypatch.setattr(adaptation, "_USUAL_S", 2.5)
    ring = StepRing(tmp_path / "ring")
    adapted = adaptation.Adaptation(config, tmp_path, _spec(None))
    scheduler = _scheduler(config)
    engine = _Engine(scheduler)
    said = adapted.fix_model(engine, ring)
    assert engine.aborted, "the time was over before the requests"
    assert not scheduler.requests
    assert said["step_model_steps"] >= 56
    model = StepModel(*said["step_model"])
    # Sleeping is late by as much as the machine is busy; prompts cost most.
    assert model.prefill_s == pytest.approx(TRUE.prefill_s, rel=0.3)
    assert scheduler._make_budget() is not None
    assert scheduler._budget._model == model


def test_a_given_model_needs_no_measurement(config: Any, tmp_path: Path) -> None:
    from sut.engines import adaptation

    ring = StepRing(tmp_path / "ring")
    adapted = adaptation.Adaptation(config, tmp_path, _spec(TRUE))
    scheduler = _scheduler(config)
    assert adapted.fix_model(None, ring) == {"step_model": [0.004, 2e-4, 5e-4, 0.0]}
    assert scheduler._make_budget()._model == TRUE
    assert scheduler.block_size == BLOCK


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: setattr(c.scheduler_config, "scheduler_cls", None), "scheduler_cls"),
        (lambda c: setattr(c, "speculative_config", object()), "speculative_config"),
        (
            lambda c: setattr(c.parallel_config, "pipeline_parallel_size", 2),
            "pipeline_parallel_size",
        ),
        (
            lambda c: setattr(c.scheduler_config, "enable_chunked_prefill", False),
            "enable_chunked_prefill=false",
        ),
    ],
)
def test_what_it_does_not_work_with_is_refused(
    config: Any, tmp_path: Path, change: Any, message: str
) -> None:
    from sut.engines import adaptation

    change(config)
    with pytest.raises(EngineConfigError, match=message):
        adaptation.Adaptation(config, tmp_path, _spec(TRUE))
