"""The knobs and conditions of a tuning campaign."""

import random

import pytest

from base.errors import UserError
from campaigns.tune.knobs import Condition, Knob, Space, full_name, read_knob
from conf.load import load_config


def _read(text: str) -> Knob:
    knob = read_knob(text)
    assert knob is not None
    return knob


@pytest.mark.parametrize(
    ("text", "count", "ends"),
    [
        ("a=1,2,4", 3, ("1", "4")),
        ("a=[1,2],[3]", 2, ("[1,2]", "[3]")),
        ("a=4..10", 7, ("4", "10")),
        ("a=1024..8192:1024", 8, ("1024", "8192")),
        ("a=1000..2100:500", 3, ("1000", "2000")),
        ("a=16..4096:log", 4081, ("16", "4096")),
        ("a=0.5..1:0.25", 3, ("0.5", "1")),
        ("a=0.5..1.5", float("inf"), ("0.5", "1.5")),
    ],
)
def test_lists_and_ranges(text: str, count: float, ends: tuple[str, str]) -> None:
    knob = _read(text)
    values = knob.spread()
    assert knob.count == count
    assert (values[0], values[-1]) == ends
    assert str(knob) == text.replace("2100", "2000")
    generator = random.Random(0)
    for _ in range(50):
        drawn = knob.draw(generator)
        low, high = (value.strip("[]").split(",")[0] for value in ends)
        assert float(low) <= float(drawn.strip("[]").split(",")[0]) <= float(high)


def test_a_single_value_is_no_knob() -> None:
    assert read_knob("engine=vllm") is None
    assert read_knob("a=[1,2]") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=1,,2", "a value is missing"),
        ("a=1,1", "a value occurs twice"),
        ("a=8..8", "must be the larger one"),
        ("a=1..8:0", "the step must be above 0"),
        ("a=1..8:9", "fit into the range"),
        ("a=0..8:log", "begins above 0"),
        ("a=1..1e999", "numbers up to"),
        ("a=1..1" + 400 * "0", "numbers up to"),
        ("a=0..1e14:1e-300", "the step must be above 0"),
    ],
)
def test_knobs_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_knob(text)


def test_short_names_depend_on_the_engine() -> None:
    vllm, synthetic = load_config(["engine=vllm"]), load_config(["engine=synthetic"])
    assert full_name("max_num_seqs", vllm) == "engine.options.max_num_seqs"
    assert full_name("max_num_seqs", synthetic) == "engine.max_num_seqs"
    assert full_name("balancer", vllm) == "cluster.balancer"
    assert full_name("engine.options.block_size", vllm) == "engine.options.block_size"


KNOBS = [_read("e.seqs=8,64"), _read("e.tokens=32,128"), _read("e.kind=x,y")]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("seqs <= tokens", [True, True, False, True]),
        ("e.seqs * 2 == 16", [True, True, False, False]),
        ("not seqs > 8 or tokens == 128", [True, True, False, True]),
        ("8 <= seqs < 64 and tokens % 32 == 0", [True, True, False, False]),
        ("seqs / (tokens - 32) < 1", [False, True, False, True]),
    ],
)
def test_conditions(text: str, holds: list[bool]) -> None:
    condition = Condition.read(text, KNOBS)
    points = [
        {"e.seqs": seqs, "e.tokens": tokens, "e.kind": "x"}
        for seqs in ("8", "64")
        for tokens in ("32", "128")
    ]
    assert [condition.holds(point) for point in points] == holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seqs <", "not a comparison"),
        ("other < 3", "there is no knob other"),
        ("kind < 3", "kind=x is not a number"),
        ("__import__('os').system('true')", "is not a comparison of knobs"),
        ("seqs in tokens", "is not a comparison of knobs"),
        ("seqs << 3", "is not a comparison of knobs"),
        (3000 * "not " + "seqs", "nested too deeply"),
        (20_000 * "-" + "1 < seqs", "nested too deeply"),
    ],
)
def test_conditions_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Condition.read(text, KNOBS)


def test_a_number_beyond_the_range_fulfils_nothing() -> None:
    huge = "1" + 400 * "0"
    assert not Condition.read(f"seqs / 3 < {huge} / 3", KNOBS).holds({"seqs": "1"})


def test_a_space_lists_what_is_allowed_and_nothing_that_is_too_large() -> None:
    space = Space(knobs=KNOBS, allowed=lambda point: point["e.kind"] == "x")
    assert space.count == 8
    assert len(space.points() or []) == 4
    assert Space(knobs=[_read("a=1..100")], allowed=lambda _: True).points() is None
