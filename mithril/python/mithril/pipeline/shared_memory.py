"""Objects that pass between two processes in shared memory without a name, which is used again.

Both ends have a mailbox on a socket pair. Who sends owns the segments (memfd): arrays lie in them, and are views of
them for who receives. When the last view is gone, the next message says so, and the segment is used again. Of an array
that goes back whence it came, or of a part of it, the message says where it lies, and nothing is copied. Nothing has a
name in the file system, so nothing is left when the processes end, however they do.
"""

import contextlib
import mmap
import os
import pickle
import socket
import weakref
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mithril.pipeline.pickling import pickled

_SEGMENT_MIN = 64 << 10
_ALIGNMENT = 64
# Smaller arrays are copied whatever they lie in.
_THEIRS_MIN = 64 << 10
# Free memory beyond which segments are given back to the system.
_FREE_MAX = 64 << 20
_MESSAGE_MAX = 128 << 10
_FDS_MAX = 4


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of a segment."""

    start: int
    size: int
    segment: int | None = None
    """The segment of the receiver in which it lies; none for the segment of the message."""


@dataclass(frozen=True, slots=True)
class _Envelope:
    """A message: the object lies in a segment."""

    segment: int
    meta: _Part
    """The list of the parts."""
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
    looks: Counter[int] = field(default_factory=Counter)
    """How many messages that came back this end still looks at, by the segment in which they lie."""
    ended: list[int] = field(default_factory=list)
    """Segments of such messages that this end has dropped."""
    returned: set[int] = field(default_factory=set)
    """Segments that the other end does not look at, and this one does."""

    def take(self, size: int) -> tuple[int, int | None]:
        """A segment of at least so many bytes, and its descriptor if it is new."""
        self._settle()
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
            with contextlib.suppress(BufferError):
                self.maps.pop(number).close()
            dropped.append(number)
        return tuple(dropped)

    def give_back(self, numbers: Iterable[int]) -> None:
        """Takes note of segments that the other end does not look at any more."""
        self.returned.update(numbers)
        self._settle()

    def look(self, number: int) -> NDArray[np.uint8]:
        """A look at a segment that came back, which is not free as long as that lives."""
        self.looks[number] += 1
        # Views of it have it as their base, as its own base is no array.
        look = np.frombuffer(self.maps[number], np.uint8)
        weakref.finalize(look, self.ended.append, number).atexit = False
        return look

    def _settle(self) -> None:
        while self.ended:
            self.looks[self.ended.pop()] -= 1
        ready = {number for number in self.returned if not self.looks[number]}
        self.returned -= ready
        self.free |= ready


class Mailbox:
    """One end of a connection. `send` and `receive` are called by one thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._outbox = _Outbox()
        self._inbox: dict[int, mmap.mmap] = {}
        self._addresses: dict[int, tuple[int, int]] = {}
        """The first and the last address of the segments of the other end."""
        self._freed: list[int] = []

    def send(self, value: Any) -> None:
        """Sends an object. Arrays are copied once, or not at all where they lie in a segment of the other end."""
        stream, buffers = pickled(value)
        contents = [memoryview(stream), *(buffer.raw() for buffer in buffers)]
        parts, end = [], 0
        for content in contents:
            part = self._theirs(content) or _Part(end, content.nbytes)
            parts.append(part)
            if part.segment is None:
                end += -(-part.size // _ALIGNMENT) * _ALIGNMENT
        meta = memoryview(pickle.dumps(parts))
        dropped = self._outbox.trim()
        number, descriptor = self._outbox.take(end + len(meta))
        target = self._outbox.maps[number]
        for content, part in zip((*contents, meta), (*parts, _Part(end, len(meta))), strict=True):
            if part.segment is None and part.size:
                target[part.start : part.start + part.size] = content
        new = () if descriptor is None else ((number, len(target)),)
        freed = tuple(self._freed.pop() for _ in range(len(self._freed)))
        message = pickle.dumps(_Envelope(number, _Part(end, len(meta)), new, dropped, freed))
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
            mapped = self._inbox[number] = mmap.mmap(descriptor, size)
            start = _address(memoryview(mapped))
            self._addresses[number] = (start, start + size)
            os.close(descriptor)
        for number in envelope.dropped:
            self._drop(number)
        # Looks at own segments come first: these are not free before.
        value = self._opened(envelope)
        self._outbox.give_back(envelope.freed)
        return value

    def close(self) -> None:
        """Closes the connection. Arrays that were received live on."""
        self._connection.close()

    def _theirs(self, content: memoryview) -> _Part | None:
        """The place of an array in a segment of the other end, where it lies in one and is worth it."""
        if content.nbytes < _THEIRS_MIN or not self._addresses:
            return None
        start = _address(content)
        for number, (first, last) in self._addresses.items():
            if first <= start and start + content.nbytes <= last:
                return _Part(start - first, content.nbytes, number)
        return None

    def _opened(self, envelope: _Envelope) -> Any:
        mapped = self._inbox[envelope.segment]
        first = envelope.meta.start
        parts: list[_Part] = pickle.loads(mapped[first : first + envelope.meta.size])  # noqa: S301 (as above)
        stream, *rest = parts
        data = mapped[stream.start : stream.start + stream.size]
        # All views of a segment keep one of these alive.
        looks = {number: self._outbox.look(number) for number in {part.segment for part in rest} if number is not None}
        if all(part.segment is not None for part in rest):
            self._freed.append(envelope.segment)
            theirs = np.empty(0, np.uint8)
        else:
            theirs = np.frombuffer(mapped, np.uint8)
            weakref.finalize(theirs, self._freed.append, envelope.segment).atexit = False
        views = [theirs if part.segment is None else looks[part.segment] for part in rest]
        found = [view[part.start : part.start + part.size] for view, part in zip(views, rest, strict=True)]
        return pickle.loads(data, buffers=found)  # noqa: S301 (as above)

    def _drop(self, number: int) -> None:
        del self._addresses[number]
        with contextlib.suppress(BufferError):
            self._inbox.pop(number).close()


def _address(memory: memoryview) -> int:
    return int(np.frombuffer(memory, np.uint8).ctypes.data)


def _length(size: int) -> int:
    """The length of a segment: steps of at most an eighth, so that segments fit again and little is wasted."""
    step = max(_SEGMENT_MIN, 1 << (size - 1).bit_length() >> 4)
    return -(-size // step) * step


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that keep messages apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
