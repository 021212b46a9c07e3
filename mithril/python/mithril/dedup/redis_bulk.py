"""Many like commands at once: their bytes are made together, and one transaction carries them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Piece = bytes | npt.NDArray[np.uint8]
"""A part of an argument: the same bytes in all commands, or a row for each."""

_MULTI, _EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"


def commands(count: int, *arguments: tuple[Piece, ...]) -> bytes:
    """So many commands as the protocol has them. Each argument is made of pieces."""
    return _lines(count, b"*%d\r\n" % len(arguments), arguments)


def command(name: bytes, count: int, *arguments: tuple[Piece, ...]) -> bytes:
    """One command that has these arguments so many times."""
    head = b"*%d\r\n$%d\r\n%s\r\n" % (1 + count * len(arguments), len(name), name)
    return head + _lines(count, b"", arguments)


def _lines(count: int, head: bytes, arguments: Sequence[tuple[Piece, ...]]) -> bytes:
    """The arguments, so many times, with a head each time."""
    pieces: list[Piece] = [head]
    for argument in arguments:
        pieces += [b"$%d\r\n" % sum(map(_width, argument)), *argument, b"\r\n"]
    lines = np.empty((count, sum(map(_width, pieces))), np.uint8)
    at = 0
    for piece in pieces:
        end = at + _width(piece)
        lines[:, at:end] = np.frombuffer(piece, np.uint8) if isinstance(piece, bytes) else piece
        at = end
    return lines.tobytes()


def exchange(client: Any, sent: Sequence[bytes], count: int, *, transaction: bool) -> list[Any]:
    """The replies to so many commands, which a client of redis-py sends. The first error among them is raised."""
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command([_MULTI, *sent, _EXEC] if transaction else list(sent))
        # In a transaction OK, and for each command QUEUED, before the replies of all at its end.
        replies = [connection.read_response() for _ in range(count + 1 if transaction else count)]
        if transaction:
            replies = connection.read_response()
    except BaseException:
        # What has not been read would be taken for the replies to others.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _width(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else int(piece.shape[1])
