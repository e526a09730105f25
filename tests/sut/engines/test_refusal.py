from typing import Any, Literal, Self

import pydantic
import pytest

from sut.engines.refusal import config_problem


class _Scheduler(pydantic.BaseModel):
    max_num_seqs: int = 1
    dtype: Literal["auto", "half"] | bool = "auto"
    quantization: Literal[
        "awq", "fp8", "gptq", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"
    ] = "awq"

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Self:
        if self.max_num_seqs == 7:
            raise ValueError("seven is\nnot possible")
        return self


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"max_num_seqs": "many"},
            "engine.options.max_num_seqs=many: Input should be a valid integer, unable"
            " to parse string as an integer",
        ),
        ({"dtype": "bf17"}, "model.dtype=bf17: must be one of auto, half"),
        (
            {"quantization": "fp8x"},
            "engine.options.quantization=fp8x: vLLM has no such value;"
            " did you mean fp8?",
        ),
        ({"max_num_seqs": 7}, "seven is not possible"),
    ],
)
def test_what_vllm_refuses_is_told_by_the_options_name(
    options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        _Scheduler(**options)
    assert config_problem(caught.value, options) == expected


def test_other_errors_of_vllm_are_told_by_their_first_line() -> None:
    assert config_problem(ValueError("\n one \ntwo"), {}) == "one"
    assert config_problem(MemoryError(), {}) == "MemoryError"


def test_a_refused_value_is_told_with_its_option() -> None:
    known = "'awq', 'fp8', " + ", ".join(f"'m{number}'" for number in range(12))
    error = ValueError(f"Unknown method: fp8x. Must be one of [{known}].")
    assert config_problem(error, {"max_num_seqs": 5, "quantization": "fp8x"}) == (
        "engine.options.quantization=fp8x: vLLM has no such value; did you mean fp8?"
    )
    assert config_problem(ValueError("no"), {"a": "fp8x"}) == "no"
