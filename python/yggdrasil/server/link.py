"""One end of the socket pair between the supervisor and a child, on an event loop."""

import asyncio
import socket
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from pydantic import BaseModel, TypeAdapter

from yggdrasil.server.messages import encode

_Message = TypeVar("_Message", bound=BaseModel)


class Link(asyncio.Protocol, Generic[_Message]):
    """Hands over whole messages as they come, and says when the other end has gone."""

    def __init__(
        self, adapter: TypeAdapter[_Message], on_message: Callable[[_Message], None], on_close: Callable[[], None]
    ) -> None:
        self._adapter = adapter
        self._on_message = on_message
        self._on_close = on_close
        self._incomplete = b""
        self._transport: asyncio.WriteTransport | None = None
        self._unsent: list[bytes] = []
        self._closed = False

    async def attach(self, connection: socket.socket) -> None:
        """Takes the socket over."""
        connection.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=connection)

    def send(self, message: BaseModel) -> None:
        """Sends a message; where nobody listens any more it is lost, and `on_close` has said so."""
        if self._transport is not None:
            self._transport.write(encode(message))
        elif not self._closed:
            self._unsent.append(encode(message))

    def close(self) -> None:
        """Sends what waits, then closes."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        # uvloop's transports do not descend from asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.writelines(self._unsent)
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        *lines, self._incomplete = (self._incomplete + data).split(b"\n")
        for line in lines:
            self._on_message(self._adapter.validate_json(line))

    def connection_lost(self, _error: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        self._closed = True
        self._on_close()
