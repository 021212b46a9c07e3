"""What commands return, and how their arguments are read."""

import time
from collections.abc import Mapping, Sequence  # noqa: TC003 - the alias is resolved at run time
from typing import TypeAlias

from yggdrasil._core import Members, ReplyError, Verbatim

Reply: TypeAlias = (
    "bool | int | float | str | bytes | Verbatim | Members | Sequence[Reply]"
    " | Mapping[str, Reply] | Mapping[bytes, Reply] | Mapping[int, Reply] | None"
)
"""None is null, bytes a bulk string, str a simple string, a mapping a map, Members a set."""

OK = "OK"

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


def text(argument: bytes) -> str:
    """An argument as text; bytes that are none come back as they were by `raw`."""
    return argument.decode("utf-8", "surrogateescape")


def raw(value: str) -> bytes:
    """The opposite of `text`, for a bulk string."""
    return value.encode("utf-8", "surrogateescape")


def syntax_error() -> ReplyError:
    """What stands where it does not belong."""
    return ReplyError("ERR syntax error")


def integer(argument: bytes, error: str = "ERR value is not an integer or out of range") -> int:
    """A number as Redis reads it: no plus, no blanks, no leading zeros, within 64 bits."""
    try:
        number = int(argument)
    except ValueError:
        raise ReplyError(error) from None
    if b"%d" % number != argument or not _INT_MIN <= number <= _INT_MAX:
        raise ReplyError(error)
    return number


def milliseconds(argument: bytes) -> int:
    """A timeout in milliseconds, 0 or more, whose end can be told in Unix time."""
    timeout_ms = integer(argument, "ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise ReplyError("ERR timeout is negative")
    if timeout_ms > _INT_MAX - time.time_ns() // 1_000_000:
        raise ReplyError("ERR timeout is out of range")
    return timeout_ms


def unknown_subcommand(container: str, name: bytes) -> ReplyError:
    """For subcommands that check their number of arguments themselves."""
    return ReplyError(
        f"ERR unknown subcommand or wrong number of arguments for '{text(name)}'. Try {container.upper()} HELP."
    )


def human_bytes(count: float) -> str:
    """A size as INFO shows it: 0B, 1.50K, 3.20G."""
    if count < 1024:
        return f"{int(count)}B"
    for unit in "KMGT":
        count /= 1024
        if count < 1024:
            return f"{count:.2f}{unit}"
    return f"{count / 1024:.2f}P"
