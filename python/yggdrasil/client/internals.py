"""The one place that touches what redis-py does not declare public: a connection between two replies.

Attributes used exist in redis-py 5 to 8. Where one is missing, `is_idle` says False and the callers take the long way:
redis-py reads the reply, and it is copied.
"""
# ruff: noqa: SLF001

import asyncio
import io
import socket
from typing import Any

from redis._parsers.hiredis import NOT_ENOUGH_DATA

__all__ = ["feed", "is_idle", "parser_of", "socket_of", "stream_of", "unwrapped"]


def unwrapped(connection: Any) -> Any:
    """The connection that talks to the server, below the one that keeps a cache of replies."""
    return getattr(connection, "_conn", connection)


def socket_of(connection: Any) -> socket.socket:
    """The socket of a connected synchronous connection."""
    sock: socket.socket = connection._sock
    return sock


def stream_of(connection: Any) -> tuple[asyncio.Transport, asyncio.StreamReader] | None:
    """What a connected asyncio connection sends and receives by; None where bytes wait to be read there."""
    reader, writer = connection._reader, connection._writer
    if getattr(reader, "_buffer", None) != b"":
        return None
    return writer.transport, reader


def parser_of(connection: Any) -> Any:
    """The parser of a connection of either kind."""
    return connection._parser


def is_idle(parser: Any) -> bool:
    """Whether a parser holds no byte of a reply."""
    reader = getattr(parser, "_reader", None)
    if reader is not None:
        # hiredis. Before redis-py 8, looking whether there is a reply could parse it and lay it aside.
        laid_aside = getattr(parser, "_next_response", NOT_ENOUGH_DATA)
        return laid_aside is NOT_ENOUGH_DATA and not reader.has_data()
    buffer = getattr(parser, "_buffer", None)
    if isinstance(buffer, bytes):
        return not buffer
    stream = getattr(buffer, "_buffer", None)
    return isinstance(stream, io.BytesIO) and stream.tell() == len(stream.getbuffer())


def feed(parser: Any, data: bytes) -> None:
    """Gives the parser of a synchronous connection bytes that were read from its socket."""
    reader = getattr(parser, "_reader", None)
    if reader is not None:
        reader.feed(data)
        return
    stream: io.BytesIO = parser._buffer._buffer
    position = stream.tell()
    stream.seek(0, io.SEEK_END)
    stream.write(data)
    stream.seek(position)
