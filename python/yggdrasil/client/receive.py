"""Replies received from the socket of a synchronous connection of redis-py straight into memory of the caller."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

from yggdrasil.client.bulk import BulkReply, Outcome
from yggdrasil.client.internals import feed, is_idle, parser_of, socket_of

__all__ = ["SKIP_BYTES_MAX", "Receiver", "TooLargeError", "copied", "redis_errors"]

SKIP_BYTES_MAX = 16 * 1024 * 1024
"""A value that does not fit is read and dropped up to here; beyond it a new connection costs less."""


class TooLargeError(Exception):
    """The value does not fit into the memory. Does not leave the package."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length


class Receiver:
    """Receives the replies to requests that have been sent on a connection, one after the other."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._parser = parser_of(connection)
        self._socket = socket_of(connection)
        self._early = b""
        self._direct = is_idle(self._parser)

    def receive(self, target: memoryview) -> int | None:
        """The next reply: a bulk string into `target` (its length), or None for nil.

        Raises TooLargeError, what redis-py raises for an error reply, and its ConnectionError and TimeoutError. After
        the latter two the connection is closed, as after redis-py's own.
        """
        if not self._direct:
            return self._copied(target)
        reply = BulkReply(target, self._early)
        try:
            with redis_errors():
                self._fill(reply)
        except BaseException:
            self._connection.disconnect()
            raise
        self._early = reply.rest
        if reply.outcome is Outcome.OTHER:
            self.close()
            return self._copied(target)
        if reply.outcome is Outcome.TOO_LARGE:
            raise TooLargeError(reply.length)
        return reply.length

    def close(self) -> None:
        """Leaves the connection to redis-py, with what was received too early."""
        if self._early:
            feed(self._parser, self._early)
            self._early = b""
        self._direct = is_idle(self._parser)

    def _fill(self, reply: BulkReply) -> None:
        done = reply.begin()
        while not done:
            count = self._socket.recv_into(reply.space())
            if count == 0:
                raise RedisConnectionError("Connection closed by server.")
            done = reply.received(count)
            if reply.to_skip > SKIP_BYTES_MAX:
                raise TooLargeError(reply.length)

    def _copied(self, target: memoryview) -> int | None:
        """The reply as redis-py reads it, which knows errors, nil and push messages."""
        value = self._connection.read_response(disable_decoding=True)
        self._direct = is_idle(self._parser)
        return copied(value, target)


def copied(value: Any, target: memoryview) -> int | None:
    """A reply that redis-py has read, put into `target`."""
    if value is None:
        return None
    if not isinstance(value, bytes):
        raise InvalidResponse(f"Protocol Error: a {type(value).__name__} where a string was expected")
    if len(value) > len(target):
        raise TooLargeError(len(value))
    target[: len(value)] = value
    return len(value)


@contextmanager
def redis_errors() -> Iterator[None]:
    """What goes wrong at a socket, as redis-py says it; its policy of retries goes by that."""
    try:
        yield
    except TimeoutError:
        raise RedisTimeoutError("Timeout reading from socket") from None
    except OSError as error:
        raise RedisConnectionError(f"Error while reading from socket: {error.args}") from error
    except ValueError as error:
        raise InvalidResponse(f"Protocol Error: {error}") from error
