"""Replies received from the transport of an asyncio connection of redis-py straight into memory of the caller."""

import asyncio
from typing import Any, Self

from redis.exceptions import ConnectionError as RedisConnectionError

from yggdrasil.client.bulk import BulkReply, Outcome
from yggdrasil.client.internals import is_idle, parser_of, stream_of
from yggdrasil.client.receive import SKIP_BYTES_MAX, TooLargeError, copied, redis_errors

__all__ = ["Takeover"]

_IDLE_BYTES = 64


class Takeover(asyncio.BufferedProtocol):
    """Stands in for the stream protocol of a connection between requests and their replies.

    `async with Takeover(connection) as taken:` before the requests are sent: the event loop then receives into the
    memory that a `BulkReply` names, also what TLS has decrypted. Between two replies nothing is read, so a slow
    consumer makes the server wait. At the end the stream protocol is back and gets what belongs to it.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._stream: asyncio.StreamReader | None = None
        self._protocol: Any = None
        self._reply: BulkReply | None = None
        self._done: asyncio.Future[None] | None = None
        self._lost: BaseException | None = None
        self._early = b""
        self._idle = memoryview(bytearray(_IDLE_BYTES))

    async def __aenter__(self) -> Self:
        connection = self._connection
        # Whatever reads replies through the parser comes first: the handshake and the health check.
        await connection.connect()
        await connection.check_health()
        stream = stream_of(connection)
        if stream is not None and is_idle(parser_of(connection)):
            self._transport, self._stream = stream
            self._protocol = self._transport.get_protocol()
            self._switch(self._transport, self)
            self._transport.pause_reading()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._give_back()

    async def receive(self, target: memoryview) -> int | None:
        """As `Receiver.receive`."""
        if self._transport is None:
            return await self._copied(target)
        reply = BulkReply(target, self._early)
        try:
            with redis_errors():
                await self._received(self._transport, reply)
        except BaseException:
            await self._connection.disconnect(nowait=True)
            raise
        self._early = reply.rest
        if reply.outcome is Outcome.OTHER:
            self._give_back()
            return await self._copied(target)
        if reply.outcome is Outcome.TOO_LARGE:
            raise TooLargeError(reply.length)
        return reply.length

    async def _received(self, transport: asyncio.Transport, reply: BulkReply) -> None:
        if reply.begin():
            return
        if self._lost is not None:
            raise self._lost
        self._reply, self._done = reply, asyncio.get_running_loop().create_future()
        transport.resume_reading()
        progress = -1
        try:
            while not self._done.done():
                if progress == reply.progress:
                    raise TimeoutError
                progress = reply.progress
                await asyncio.wait((self._done,), timeout=self._connection.socket_timeout)
            self._done.result()
        finally:
            self._reply = self._done = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the event loop receives next."""
        return self._reply.space() if self._reply is not None else self._idle

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes are there."""
        reply = self._reply
        if reply is None:
            self._early += bytes(self._idle[:nbytes])
            return
        try:
            done = reply.received(nbytes)
        except ValueError as error:
            self._finish(error)
            return
        if done:
            if self._transport is not None:
                self._transport.pause_reading()
            self._finish(None)
        elif reply.to_skip > SKIP_BYTES_MAX:
            self._finish(TooLargeError(reply.length))

    def eof_received(self) -> bool | None:
        """The server has closed the connection."""
        self._finish(RedisConnectionError("Connection closed by server."))
        return bool(self._protocol.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._finish(RedisConnectionError(f"Connection lost: {exc or 'closed'}"))
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The stream protocol is who lets writers wait."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """And go on."""
        self._protocol.resume_writing()

    def _finish(self, error: BaseException | None) -> None:
        if error is not None and self._lost is None:
            self._lost = error
        self._reply = None
        if self._done is None or self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)

    def _give_back(self) -> None:
        if self._transport is None or self._stream is None:
            return
        self._switch(self._transport, self._protocol)
        if self._early:
            self._stream.feed_data(self._early)
            self._early = b""
        self._transport = None

    @staticmethod
    def _switch(transport: asyncio.Transport, protocol: Any) -> None:
        if transport.is_closing():
            transport.set_protocol(protocol)
            return
        # When reading starts, uvloop chooses how it receives; so it stops for a moment.
        transport.pause_reading()
        transport.set_protocol(protocol)
        transport.resume_reading()

    async def _copied(self, target: memoryview) -> int | None:
        return copied(await self._connection.read_response(disable_decoding=True), target)
