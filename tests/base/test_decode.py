from pathlib import Path
from typing import Literal

import msgspec
import pytest

from base.decode import (
    DecodeError,
    decode_json,
    decode_with,
    decode_yaml,
    flat,
    plain_yaml,
    positive_number,
    whole_number,
)

NESTED = b"[" * 5000 + b"]" * 5000


class _Number(msgspec.Struct):
    number: int


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b'{"number": "x"}', b'{"x":' + NESTED + b"}"]
)
def test_json_that_is_damaged(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_json(data, _Number)
    assert "\n" not in str(caught.value)


def test_messages_that_are_nested_without_end() -> None:
    with pytest.raises(DecodeError, match="nested too deeply"):
        decode_with(msgspec.msgpack.Decoder(), b"\x91" * 5000 + b"\xc0")


def test_plain_yaml_is_returned_as_it_is() -> None:
    text = "# of a run\nname: a b\nlist: [1, {x: $y}]\ntext: |\n  one\n  two\n"
    text += "reference: ${x}\n"
    assert plain_yaml(text.encode()) == text
    assert decode_yaml(b"\xef\xbb\xbfnumber: 3", _Number) == _Number(3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: [*x, *x]\n", r"line 2: the alias \*x"),
        ("a: !!timestamp soon\n", "line 1: the tag"),
        ("[" * 5000, "line 1: nested too deeply"),
        ("a: [1", "line 1"),
        ("number: 99" + 5000 * "9", "digits"),
        ("number: 2026-99-99", "month"),
        ("[1]", "Expected `object`"),
    ],
)
def test_yaml_that_is_not_read(text: str, message: str) -> None:
    with pytest.raises(DecodeError, match=message) as caught:
        decode_yaml(text.encode(), _Number)
    assert "\n" not in str(caught.value)


def test_yaml_that_is_no_text() -> None:
    with pytest.raises(DecodeError, match="utf-8"):
        plain_yaml(b"a: \xff\xfe")


def test_aliases_cost_nothing(tmp_path: Path) -> None:
    """Nine levels of nine aliases each would be 387 million values."""
    lines = ["a0: &a0 x"]
    lines += [f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, 10)]
    with pytest.raises(DecodeError, match="line 2: the alias"):
        plain_yaml("\n".join(lines).encode())


def test_what_others_wrote_is_quoted_without_control_characters() -> None:
    kind = Literal["known"]
    with pytest.raises(DecodeError) as caught:
        decode_json(b'"\\u001b[2J\\n"', kind)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()
    assert "\\x1b[2J" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("0042", 42),
        ("1000000000", 10**9),
        ("1000000001", None),
        ("9" * 5000, None),
        ("0" * 5000 + "7", 7),
        ("", None),
        ("-1", None),
        ("1.0", None),
        ("\u0663", None),
        ("\u00b2", None),
    ],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3600", 3600.0),
        ("0.05", 0.05),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("0", None),
        ("-1", None),
        ("1e9", None),
        ("9" * 5000, None),
        ("1e999", None),
        ("nan", None),
        ("inf", None),
        ("1_000", None),
        (" 5", None),
        ("\u0663", None),
        ("", None),
        (".", None),
    ],
)
def test_positive_numbers(text: str, number: float | None) -> None:
    assert positive_number(text) == number


def test_flat_names_values_of_nested_mappings() -> None:
    tree = {"a": 1, "b": {"c": {"d": [2]}, "e": None}}
    assert dict(flat(tree)) == {"a": 1, "b.c.d": [2], "b.e": None}
