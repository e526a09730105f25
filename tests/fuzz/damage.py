"""Makes damaged input out of valid input: edits of bytes, of tokens and of values."""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

Inputs = Callable[[Random], bytes]
"""Makes one input."""

DEEP = 4000
_TOKEN = re.compile(
    rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|[A-Za-z_$][\w.$]*|[^\s\w]'
)
"""What text formats are made of: strings, numbers, words and single signs."""
_TEXT_PIECES: tuple[bytes, ...] = (
    b"",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"0.5",
    b"NaN",
    b"-nan",
    b"1e999",
    b"-Infinity",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"9" * 40,
    b"9" * 5000,
    b'""',
    b'"x"',
    b'"\\ud800"',
    b'"\\u0000"',
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc2\xb2",
    b"\x00",
    b"\r\n",
    b"\n",
    b"[]",
    b"{}",
    b"[[]]",
    b'{"a": 1}',
    b"[" * DEEP,
    b"[" * DEEP + b"]" * DEEP,
    b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b"&x [1]",
    b"*x",
    b"&x [*x, *x]",
    b"<<: *x",
    b"${oc.env:HOME}",
    b"${system}",
    b"???",
    b"!!timestamp x",
    b"!!python/object/apply:os.system [x]",
    b"2026-99-99",
    b"1:99:99",
    b"a: 1",
    b"- ",
    b"=HYPERLINK(1)",
    b'"unclosed',
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63 - 1,
    -(2**63),
    2**64 - 1,
    0.5,
    float("nan"),
    float("inf"),
    -1e308,
    "",
    "x",
    "\x1b[2J\n",
    "\u00b2",
    b"",
    b"\xff\xfe\x00",
    b"1234",
    [],
    {},
    [[]],
    {"a": 1},
    {1: b"x"},
)
_RAW: tuple[bytes, ...] = (
    b"\x91" * 5000 + b"\xc0",
    b"\x81\xa1x" * 3000,
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + b"\x00" * 7,
    b"\xcb\x7f\xf8" + b"\x00" * 6,
    b"\xc7\x0c\xff" + b"\xff" * 12,
    b"\xd6\xff\x00\x00\x00\x00",
    b"\xa2\xff\xfe",
    b"\xc1",
)

_TEXT_EDITS = ("replace", "replace", "insert", "delete", "repeat", "swap", "cut")
_BYTE_EDITS = ("flip", "insert", "delete", "repeat", "cut", "raw")


def damaged_text(originals: Sequence[bytes]) -> Inputs:
    """Return what makes one of `originals` (JSON, YAML, CSV, ...) with 1 to 4 edits."""

    def make(random: Random) -> bytes:
        data = random.choice(originals)
        for _ in range(random.randint(1, 4)):
            edit = _edit_text if random.randrange(8) else _edit_bytes
            data = edit(random, data)
        return data

    return make


def damaged_bytes(originals: Sequence[bytes]) -> Inputs:
    """Return what makes one of `originals`, of any form, with 1 to 4 edits."""

    def make(random: Random) -> bytes:
        data = random.choice(originals)
        for _ in range(random.randint(1, 4)):
            data = _edit_bytes(random, data)
        return data

    return make


def damaged_message(originals: Sequence[msgspec.Struct]) -> Inputs:
    """Return what makes one of `originals` as MessagePack, with values changed.

    Every fourth one has damaged bytes as well.
    """

    def make(random: Random) -> bytes:
        tree = msgspec.to_builtins(
            random.choice(originals), builtin_types=(bytes,), str_keys=False
        )
        for _ in range(random.randrange(4)):
            tree = _edit_value(random, tree)
        data = msgspec.msgpack.encode(tree)
        return data if random.randrange(4) else _edit_bytes(random, data)

    return make


def _edit_text(random: Random, data: bytes) -> bytes:
    spans = [match.span() for match in _TOKEN.finditer(data)]
    if not spans:
        return data + random.choice(_TEXT_PIECES)
    begin, end = spans[random.randrange(len(spans))]
    match random.choice(_TEXT_EDITS):
        case "replace":
            return data[:begin] + random.choice(_TEXT_PIECES) + data[end:]
        case "insert":
            return data[:begin] + random.choice(_TEXT_PIECES) + data[begin:]
        case "delete":
            return data[:begin] + data[end:]
        case "repeat":
            # With what follows it: keys come twice, lines come twice.
            last = spans[min(len(spans) - 1, spans.index((begin, end)) + 3)][1]
            return data[:last] + b"," + data[begin:]
        case "swap":
            other = spans[random.randrange(len(spans))]
            return data[:begin] + data[other[0] : other[1]] + data[end:]
        case _:
            return data[:begin]


def _edit_bytes(random: Random, data: bytes) -> bytes:
    place = random.randrange(len(data) + 1)
    match random.choice(_BYTE_EDITS):
        case "flip":
            return (
                data[:place] + random.randbytes(random.randrange(9)) + data[place + 1 :]
            )
        case "insert":
            return data[:place] + random.randbytes(random.randrange(9)) + data[place:]
        case "delete":
            return data[:place] + data[place + 1 + random.randrange(9) :]
        case "repeat":
            return data[:place] + data[max(0, place - 8) :]
        case "cut":
            return data[:place]
        case _:
            return data[:place] + random.choice(_RAW) + data[place + 1 :]


def _edit_value(random: Random, tree: Any) -> Any:
    """Return `tree` with one value in it changed, removed or doubled."""
    inner = isinstance(tree, list | dict) and len(tree) > 0
    if not inner or random.randrange(6) == 0:
        return random.choice(_VALUES)
    if isinstance(tree, list):
        place = random.randrange(len(tree))
        match random.randrange(10):
            case 0:
                return tree[:place] + tree[place + 1 :]
            case 1:
                return [*tree[:place], *tree[place:], tree[place]]
            case _:
                changed = _edit_value(random, tree[place])
                return [*tree[:place], changed, *tree[place + 1 :]]
    key = list(tree)[random.randrange(len(tree))]
    if random.randrange(10) == 0:
        return {name: value for name, value in tree.items() if name != key}
    return {**tree, key: _edit_value(random, tree[key])}
