"""Decoding of bytes that come from elsewhere: files, sockets, other programs.

msgspec reports most faults by its own error, but deep nesting as RecursionError,
numbers beyond its range as OverflowError and broken text as UnicodeDecodeError. A
reader that names one of them alone ends in a traceback for the others.
"""

from typing import TypeVar

import msgspec

T = TypeVar("T")


class DecodeError(ValueError):
    """Bytes that are not what they should be; the message is one line."""


def decode_json(data: bytes | str, kind: type[T]) -> T:
    """Return the JSON text `data` as a `kind`.

    Raises:
        DecodeError: it is damaged or something else.
    """
    return decode_with(msgspec.json.Decoder(kind), data)


def decode_with(
    decoder: "msgspec.json.Decoder[T] | msgspec.msgpack.Decoder[T]", data: bytes | str
) -> T:
    """Return `data` as `decoder` reads it.

    Raises:
        DecodeError: it is damaged or something else.
    """
    try:
        return decoder.decode(data)  # type: ignore[arg-type]
    except RecursionError:
        raise DecodeError("nested too deeply") from None
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise DecodeError(" ".join(str(error).split())) from error
