"""Objects that pass between two processes in shared memory without a name, which is used again.

Both ends have a mailbox on a socket pair. Who sends owns the segments (memfd): arrays lie in them, and are views of
them for who receives. When the last view is gone, the next message says so, and the segment is used again. Nothing has
a name in the file system, so nothing is left when the processes end, however they do.
"""

import contextlib
import mmap
import os
import pickle
import socket
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_SEGMENT_MIN = 64 << 10
_ALIGNMENT = 64
# Free memory beyond which segments are given back to the system.
_FREE_MAX = 64 << 20
_MESSAGE_MAX = 128 << 10
_FDS_MAX = 4


@dataclass(frozen=True, slots=True)
class _Envelope:
    """A message: the object lies in a segment."""

    segment: int
    meta: tuple[int, int]
    """The position and the size of the sizes of the parts."""
    new: tuple[tuple[int, int], ...]
    """Segments whose descriptors come along: number and size."""
    dropped: tuple[int, ...]
    """Segments that are there no longer."""
    freed: tuple[int, ...]
    """Segments of the other end that nothing looks at any more."""


@dataclass(slots=True)
class _Outbox:
    """The segments of this end."""

    maps: dict[int, mmap.mmap] = field(default_factory=dict)
    free: set[int] = field(default_factory=set)
    next: int = 0

    def take(self, size: int) -> tuple[int, int | None]:
        """A segment of at least so many bytes, and its descriptor if it is new."""
        fitting = [(len(self.maps[number]), number) for number in self.free if len(self.maps[number]) >= size]
        if fitting:
            number = min(fitting)[1]
            self.free.remove(number)
            return number, None
        length = _length(size)
        descriptor = os.memfd_create("mithril-pipeline", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, length)
        number, self.next = self.next, self.next + 1
        self.maps[number] = mmap.mmap(descriptor, length)
        return number, descriptor

    def trim(self) -> tuple[int, ...]:
        """Gives the largest free segments back while there is too much."""
        dropped = []
        while self.free and sum(len(self.maps[number]) for number in self.free) > _FREE_MAX:
            number = max(self.free, key=lambda number: len(self.maps[number]))
            self.free.remove(number)
            self.maps.pop(number).close()
            dropped.append(number)
        return tuple(dropped)


class Mailbox:
    """One end of a connection. `send` and `receive` are called by one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._outbox = _Outbox()
        self._inbox: dict[int, mmap.mmap] = {}
        self._freed: list[int] = []

    def send(self, value: Any, dumps: Callable[..., bytes] = pickle.dumps) -> None:
        """Sends an object. Arrays are copied once; all else is pickled."""
        buffers: list[pickle.PickleBuffer] = []
        stream = dumps(value, protocol=5, buffer_callback=buffers.append)
        parts = [memoryview(stream), *(buffer.raw() for buffer in buffers)]
        places, end = [], 0
        for part in parts:
            places.append((end, part.nbytes))
            end += -(-part.nbytes // _ALIGNMENT) * _ALIGNMENT
        meta = pickle.dumps(places)
        dropped = self._outbox.trim()
        number, descriptor = self._outbox.take(end + len(meta))
        target = self._outbox.maps[number]
        for part, (start, size) in zip(parts, places, strict=True):
            target[start : start + size] = part
        target[end : end + len(meta)] = meta
        new = () if descriptor is None else ((number, len(target)),)
        freed = tuple(self._freed.pop() for _ in range(len(self._freed)))
        message = pickle.dumps(_Envelope(number, (end, len(meta)), new, dropped, freed))
        try:
            socket.send_fds(self._connection, [message], [] if descriptor is None else [descriptor])
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def receive(self) -> Any:
        """The next object, whose arrays are views of shared memory. Raises EOFError where the other end is gone."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._connection, _MESSAGE_MAX, _FDS_MAX)
        except ConnectionError as error:
            raise EOFError(str(error)) from None
        if not message:
            raise EOFError("the other process has ended")
        envelope: _Envelope = pickle.loads(message)  # noqa: S301 (from our own process, over a socket pair)
        for (number, size), descriptor in zip(envelope.new, descriptors, strict=True):
            self._inbox[number] = mmap.mmap(descriptor, size)
            os.close(descriptor)
        for number in envelope.dropped:
            self._drop(number)
        self._outbox.free.update(envelope.freed)
        return self._opened(envelope)

    def close(self) -> None:
        """Closes the connection. Arrays that were received live on."""
        self._connection.close()

    def _opened(self, envelope: _Envelope) -> Any:
        mapped = self._inbox[envelope.segment]
        start, size = envelope.meta
        places = pickle.loads(mapped[start : start + size])  # noqa: S301 (as above)
        stream, *rest = places
        if not rest:
            value = pickle.loads(mapped[stream[0] : stream[0] + stream[1]])  # noqa: S301 (as above)
            self._freed.append(envelope.segment)
            return value
        # All views of the segment keep this one alive.
        lease = np.frombuffer(mapped, np.uint8)
        weakref.finalize(lease, self._freed.append, envelope.segment).atexit = False
        parts = [lease[at : at + length] for at, length in rest]
        return pickle.loads(mapped[stream[0] : stream[0] + stream[1]], buffers=parts)  # noqa: S301 (as above)

    def _drop(self, number: int) -> None:
        with contextlib.suppress(BufferError):
            self._inbox.pop(number).close()


def _length(size: int) -> int:
    """The length of a segment: steps of at most an eighth, so that segments fit again and little is wasted."""
    step = max(_SEGMENT_MIN, 1 << (size - 1).bit_length() >> 4)
    return -(-size // step) * step


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that keep messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
